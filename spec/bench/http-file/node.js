const fs = require("fs");
require("http").createServer((req, res) => {
  const name = process.env.TMP + req.url;
  fs.stat(name, (err, found) => {
    if (err) return res.writeHead(404).end();
    res.writeHead(200, { "Content-Type": "application/octet-stream", "Content-Length": found.size });
    fs.createReadStream(name).pipe(res);
  });
}).listen({ host: "127.0.0.1", port: +process.env.PORT, backlog: 4096 });
