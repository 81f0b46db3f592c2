// A receiver of webhooks: `SECRET=whsec_... PORT=9000 node receive.mjs`. It takes what is signed, and nothing else.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const hook = new Webhook(process.env.SECRET);

const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    const event = hook.verify(Buffer.concat(chunks), request.headers); // the body's bytes, before any parser
    console.log(event.type, JSON.stringify(event.data));
    response.writeHead(204).end();
  } catch (error) {
    response.writeHead(400).end(error.message);
  }
});

server.listen(Number(process.env.PORT ?? 9000), "127.0.0.1", () => console.log("listening", server.address().port));
