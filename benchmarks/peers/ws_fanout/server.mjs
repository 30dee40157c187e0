// The peer of the live stream: a `ws` server that passes each message of a Redis channel on to every client.
//   node server.mjs PORT REDIS_URL CHANNEL
import { createClient } from "redis";
import { WebSocketServer } from "ws";

const [port, url, channel] = process.argv.slice(2);
const SUBSCRIBED = JSON.stringify({ type: "subscribed" });

const redis = createClient({ url });
redis.on("error", (error) => console.error(error.message));
await redis.connect();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port), perMessageDeflate: false, clientTracking: true });
server.on("connection", (client) => {
  client.on("message", () => client.send(SUBSCRIBED));
  client.on("error", () => client.terminate());
});
await redis.subscribe(channel, (message) => {
  const frame = Buffer.from(message);
  for (const client of server.clients) client.send(frame, { binary: false });
});
