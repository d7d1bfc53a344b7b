const { WebSocketServer } = require("ws");
new WebSocketServer({ host: "127.0.0.1", port: +process.env.PORT, backlog: 4096 })
  .on("connection", (ws) => ws.on("message", (data, binary) => ws.send(data, { binary })));
