const list = [];
for (let i = 1; i <= 56; i++) {
  list.push({
    id: i, name: "Item number " + i, price: i * 1.25, stock: i * 7 % 100, available: i % 2 == 0,
    tags: ["red", "green", "blue"],
    description: "A thing that one might want to have, if one had the room for it",
  });
}
require("http").createServer((req, res) => {
  const body = JSON.stringify(list);
  res.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
  res.end(body);
}).listen({ host: "127.0.0.1", port: +process.env.PORT, backlog: 4096 });
