// One operation of @aws-sdk/client-s3 on all keys under a prefix: `node aws-sdk-folder.mjs '{"operation": …}'`.
import { createReadStream, createWriteStream, mkdirSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";

const require = createRequire(`${process.env.LAB_NODE_MODULES}/`);
const { S3Client, GetObjectCommand, CopyObjectCommand, DeleteObjectsCommand, paginateListObjectsV2 } =
  require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");

const told = JSON.parse(process.argv[2]);
const { bucket, prefix, folder } = told;
const client = new S3Client({
  endpoint: told.endpoint,
  region: told.region,
  credentials: { accessKeyId: told.accessKey, secretAccessKey: told.secretKey },
  forcePathStyle: true,
  maxAttempts: 1,
});

async function listed() {
  const entries = [];
  for await (const page of paginateListObjectsV2({ client, pageSize: 3 }, { Bucket: bucket, Prefix: prefix })) {
    for (const entry of page.Contents ?? []) entries.push([entry.Key, entry.Size]);
  }
  return entries;
}

const filesUnder = (root) =>
  readdirSync(root, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.path, entry.name).slice(root.length + 1));

async function remove(keys) {
  const Delete = { Objects: keys.map((Key) => ({ Key })), Quiet: true };
  const answer = await client.send(new DeleteObjectsCommand({ Bucket: bucket, Delete }));
  if (answer.Errors?.length) throw new Error(JSON.stringify(answer.Errors));
}

const operations = {
  async list() {
    console.log(JSON.stringify(await listed()));
  },
  async download() {
    for (const [key] of await listed()) {
      const file = join(folder, key.slice(prefix.length));
      mkdirSync(dirname(file), { recursive: true });
      const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      await pipeline(answer.Body, createWriteStream(file));
    }
  },
  async upload() {
    for (const name of filesUnder(folder)) {
      // Through a pipe, so that the library cannot know the length.
      const Body = new PassThrough();
      const sent = pipeline(createReadStream(join(folder, name)), Body);
      const params = { Bucket: bucket, Key: prefix + name, Body };
      await Promise.all([sent, new Upload({ client, params, partSize: told.partBytes }).done()]);
    }
  },
  async copy() {
    for (const name of told.names) {
      const CopySource = `${bucket}/${(prefix + name).split("/").map(encodeURIComponent).join("/")}`;
      await client.send(new CopyObjectCommand({ Bucket: bucket, Key: told.to + name, CopySource }));
    }
  },
  async delete() {
    await remove(told.names.map((name) => prefix + name));
  },
  async deleteAll() {
    await remove((await listed()).map(([key]) => key));
  },
};

await operations[told.operation]();
