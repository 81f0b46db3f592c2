// A receiver of webhooks: `SECRET=whsec_... PORT=9000 node receive.mjs`. It takes what is signed, and nothing else.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const hook = new Webhook(process.env.SECRET);

const MOST_BYTES = 1024 * 1024; // an event has up to 256 KiB

const server = createServer(async (request, response) => {
  try {
    const chunks = [];
    let size = 0;
    for await (const chunk of request) { // throws where the client breaks off
      if ((size += chunk.length) > MOST_BYTES) throw new Error("The body is too long.");
      chunks.push(chunk);
    }
    const event = hook.verify(Buffer.concat(chunks), request.headers); // the body's bytes, before any parser
    console.log(event.type, JSON.stringify(event.data));
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(400).end(error.message);
  }
});

server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => console.log("listening", server.address().port));
