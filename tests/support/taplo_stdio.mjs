// The language server of Taplo (npm: @taplo/lsp), which editors have as a library, over standard streams.
// argv: the directory that holds node_modules.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";

const { TaploLsp } = createRequire(path.join(process.argv[2], "x"))("@taplo/lsp");
const environment = {
  now: () => new Date(),
  envVar: (name) => process.env[name] ?? "",
  envVars: () => Object.entries(process.env),
  stdErrAtty: () => false,
  stdin: async () => new Uint8Array(),
  stdout: async (bytes) => bytes.length,
  stderr: async (bytes) => bytes.length,
  glob: () => [],
  readFile: (file) => fs.promises.readFile(file),
  writeFile: async () => {},
  urlToFilePath: (url) => (url.startsWith("file://") ? fileURLToPath(url) : ""),
  isAbsolute: (file) => path.isAbsolute(file),
  cwd: () => process.cwd(),
  findConfigFile: () => undefined,
};
const server = await TaploLsp.initialize(environment, {
  onMessage: (message) => {
    const body = Buffer.from(JSON.stringify(message));
    process.stdout.write(`Content-Length: ${body.length}\r\n\r\n`);
    process.stdout.write(body);
  },
});

let waiting = Buffer.alloc(0);
process.stdin.on("data", (bytes) => {
  waiting = Buffer.concat([waiting, bytes]);
  for (;;) {
    const head = waiting.indexOf("\r\n\r\n");
    if (head < 0) return;
    const length = Number(/content-length: *(\d+)/i.exec(waiting.subarray(0, head).toString())[1]);
    if (waiting.length < head + 4 + length) return;
    const body = waiting.subarray(head + 4, head + 4 + length).toString();
    waiting = waiting.subarray(head + 4 + length);
    server.send(JSON.parse(body));
  }
});
process.stdin.on("end", () => process.exit());
