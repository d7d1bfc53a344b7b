-- Against a client that is not ours: curl, plain and with TLS.

local certificates = require "spec.support.certificates"
local http = require "greenlua.http"
local web = require "spec.support.http"

describe("http.Server, asked by curl", function()
  local plain, secure, unix, ca, path, big

  local function handler(req, res)
    if req.path == "/echo" then return web.must(req:read "a") end
    if req.path == "/big" then return res:send_file(path) end
    if req.path == "/interim" then res:inform(103, { Link = "</style.css>" }) end
    if req.path:find "^/%.%." then return req.raw_path end
    if req.path == "/stream" then return ("a b c"):gmatch "%S" end
    if req.path == "/agent" then return req.version .. " " .. tostring(req.remote_host) end
    return "hello"
  end

  setup(function()
    ca = certificates.authority()
    local mine = ca:issue("localhost", { "localhost", "127.0.0.1" })
    path = os.tmpname()
    big = ("0123456789abcdef"):rep(100000)
    local file <close> = assert(io.open(path, "wb"))
    file:write(big)
    plain = web.server(handler, { gzip = true })
    secure = web.server(handler, { tls = { certificate = mine.certificate, key = mine.key } })
    unix = http.Server("unix:" .. path .. ".sock", handler)
    assert(unix:start())
  end)

  teardown(function()
    for _, server in ipairs { plain, secure, unix } do server:stop(0) end
    os.remove(path)
    ca:close()
  end)

  local function curl(arguments)
    return web.shell(("curl -sS --max-time 60 --cacert %s "):format(ca.certificate)
      .. arguments:gsub("PLAIN", "http://127.0.0.1:" .. plain.port)
        :gsub("SECURE", "https://localhost:" .. secure.port):gsub("FILE", path))
  end

  it("answers it, over TCP, TLS and a UNIX socket", function()
    assert.equal("hello", curl "PLAIN/")
    assert.equal("hello", curl "SECURE/")
    assert.equal("hello", curl("--unix-socket " .. path .. ".sock http://x/"))
    assert.equal("1.1 127.0.0.1", curl "SECURE/agent")
  end)

  it("agrees on HTTP/1.1 where it would rather have HTTP/2", function()
    local out = curl "-v SECURE/"
    assert.matches("ALPN", out)
    assert.matches("[Ss]erver accepted.* http/1.1", out)
  end)

  it("keeps its connections", function()
    assert.equal("hello1hello0hello0", curl "-w '%{num_connects}' PLAIN/ PLAIN/ PLAIN/")
    assert.equal("hello1hello0", curl "-w '%{num_connects}' SECURE/ SECURE/")
  end)

  it("takes bodies, with a length, in chunks, after 100-continue", function()
    for _, arguments in ipairs { "--data-binary @FILE PLAIN/echo",
      "--data-binary @FILE SECURE/echo", "-H 'Transfer-Encoding: chunked' -d @FILE PLAIN/echo",
      "-T - PLAIN/echo <FILE", "-H 'Expect: 100-continue' -d @FILE SECURE/echo" } do
      assert.equal("same\n", curl(arguments .. " | cmp - FILE && echo same"):sub(-5))
    end
  end)

  it("sends files, streams and parts of them", function()
    for _, arguments in ipairs { "PLAIN/big", "SECURE/big", "--http1.0 PLAIN/big",
      "--compressed PLAIN/big" } do
      assert.equal("same\n", curl(arguments .. " | cmp - FILE && echo same"))
    end
    assert.equal("cdef0123", curl "-r 12-19 SECURE/big")
    assert.equal("abc", curl "SECURE/stream")
    assert.equal("abc", curl "--http1.0 PLAIN/stream")
    assert.matches("^HTTP/1.1 200 OK\r\n.*\r\nContent%-Length: 1600000\r\n", curl "-I SECURE/big")
  end)

  it("serves one request after another, whatever they are, on one connection", function()
    assert.equal("hello|posted|HEAD|abc|hello|0", curl("-w '|' PLAIN/ --next -w '|' -d posted "
      .. "PLAIN/echo --next -I -o /dev/null -w 'HEAD|' PLAIN/big --next -w '|' PLAIN/stream "
      .. "--next -w '|%{num_connects}' -X OPTIONS PLAIN/"))
    assert.equal("1.1 5 text/plain; charset=utf-8\n", curl("-I -o /dev/null "
      .. "-w '%{http_version} %header{content-length} %header{content-type}\\n' SECURE/"))
  end)

  it("sends several parts, interim responses, and paths as they are", function()
    local parts = curl "-r 0-3,16-19,-2 SECURE/big"
    local found = {}
    for range, bytes in parts:gmatch "Content%-Range: bytes ([%d-]+)/1600000\r\n\r\n(%x+)\r\n" do
      found[#found + 1] = range .. " " .. bytes
    end
    assert.same({ "0-3 0123", "16-19 0123", "1599998-1599999 ef" }, found)
    assert.matches("^HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\nHTTP/1.1 200 OK\r\n",
      curl "-i PLAIN/interim")
    assert.equal("/../%2e%2e/etc", curl "--path-as-is PLAIN/../%2e%2e/etc")
  end)

  it("resumes what was cut", function()
    assert.equal("same\n", web.shell(([[head -c 1000000 %s >%s.part &&
      curl -sS --max-time 60 -C - -o %s.part http://127.0.0.1:%d/big &&
      cmp %s.part %s && echo same; rm -f %s.part]]):format(path, path, path, plain.port, path, path,
        path)))
  end)
end)
