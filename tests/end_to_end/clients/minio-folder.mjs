// One operation of MinIO's JavaScript library on all keys under a prefix: `node minio-folder.mjs '{"operation": …}'`.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(`${process.env.LAB_NODE_MODULES}/`);
const { Client, CopyConditions } = require("minio");

const told = JSON.parse(process.argv[2]);
const { bucket, prefix, folder } = told;
const client = new Client({
  endPoint: told.host,
  port: told.port,
  useSSL: told.secure,
  accessKey: told.accessKey,
  secretKey: told.secretKey,
  region: told.region,
  partSize: told.partBytes,
});

async function listed() {
  const entries = [];
  for await (const entry of client.listObjectsV2(bucket, prefix, true)) entries.push([entry.name, entry.size]);
  return entries;
}

const filesUnder = (root) =>
  readdirSync(root, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.path, entry.name).slice(root.length + 1));

const operations = {
  async list() {
    console.log(JSON.stringify(await listed()));
  },
  async download() {
    for (const [key] of await listed()) await client.fGetObject(bucket, key, join(folder, key.slice(prefix.length)));
  },
  async upload() {
    for (const name of filesUnder(folder)) await client.fPutObject(bucket, prefix + name, join(folder, name));
  },
  async copy() {
    for (const name of told.names) {
      await client.copyObject(bucket, told.to + name, `/${bucket}/${prefix}${name}`, new CopyConditions());
    }
  },
  async delete() {
    await client.removeObjects(bucket, told.names.map((name) => prefix + name));
  },
  async deleteAll() {
    await client.removeObjects(bucket, (await listed()).map(([key]) => key));
  },
};

await operations[told.operation]();
