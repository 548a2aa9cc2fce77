// One S3 operation through @aws-sdk/client-s3: `node aws-sdk.mjs '{"operation": "put", …}'`.
// Prints one JSON object: {"headers": …} or {"refused": HTTP status, "detail": …}.
import { createReadStream, readFileSync, createWriteStream } from "node:fs";
import { createRequire } from "node:module";
import { pipeline } from "node:stream/promises";

const require = createRequire(`${process.env.LAB_NODE_MODULES}/`);
const { S3Client, PutObjectCommand, GetObjectCommand, HeadObjectCommand, DeleteObjectCommand } = require("@aws-sdk/client-s3");
const { Upload } = require("@aws-sdk/lib-storage");

const { operation, endpoint, bucket, region, key, file, contentType, body } = JSON.parse(process.argv[2]);
const client = new S3Client({ endpoint, region, forcePathStyle: true, maxAttempts: 1 });
const address = { Bucket: bucket, Key: key };
let headers = {};

// The SDK does not hand out the raw headers; a middleware at the end of its stack sees them.
client.middlewareStack.add(
  (next) => async (args) => {
    const result = await next(args);
    headers = result.response?.headers ?? {};
    return result;
  },
  { step: "deserialize", priority: "low" },
);

const operations = {
  async put() {
    const fields = { ...address, ContentType: contentType };
    if (body === "buffer") {
      await client.send(new PutObjectCommand({ ...fields, Body: readFileSync(file) }));
    } else if (body === "stream") {
      await client.send(new PutObjectCommand({ ...fields, Body: createReadStream(file) }));
    } else {
      await new Upload({ client, params: { ...fields, Body: createReadStream(file) } }).done();
    }
  },
  async get() {
    const answer = await client.send(new GetObjectCommand(address));
    await pipeline(answer.Body, createWriteStream(file));
  },
  async head() {
    await client.send(new HeadObjectCommand(address));
  },
  async delete() {
    await client.send(new DeleteObjectCommand(address));
  },
};

try {
  await operations[operation]();
  console.log(JSON.stringify({ headers }));
} catch (error) {
  const status = error.$metadata?.httpStatusCode;
  if (status === undefined) throw error;
  console.log(JSON.stringify({ refused: status, detail: String(error) }));
}
