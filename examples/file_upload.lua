-- A form for files. They are written to the disk as they come, so a large one needs
-- no more memory than a small one. Open it in a browser, or
--
--     curl -F file=@photo.jpg http://127.0.0.1:8000/upload
--     curl http://127.0.0.1:8000/files/1
--
-- usage: file_upload.lua [port [directory]]

local http = require "greenlua.http"

local directory = arg[2] or "/tmp"
local LARGEST = 1 << 30

local page = [[
<!DOCTYPE html>
<title>Upload</title>
<form action="/upload" method="post" enctype="multipart/form-data">
  <input type="file" name="file" multiple> <button>Send</button>
</form>
]]

local uploads = {}

local function upload(req)
  local lines = {}
  for part in req:parts() do
    if part.filename then
      local id = #uploads + 1
      -- Where it goes is for us to say: the name is the client's.
      uploads[id] = { path = ("%s/upload-%d"):format(directory, id), name = part.filename }
      local size, err = part:save(uploads[id].path, LARGEST)
      if not size then return 400, err .. "\n" end
      lines[#lines + 1] = ("%s: %d bytes, /files/%d\n"):format(part.filename, size, id)
    end
  end
  return lines
end

local function download(req, res)
  local file = uploads[math.tointeger(tonumber(req.params.id))]
  if not file then return 404, "no such file\n" end
  return res:send_file(file.path, { download = file.name, type = "application/octet-stream" })
end

local router = http.router()
router:get("/", function(_, res)
  res:set_header("Content-Type", "text/html; charset=utf-8")
  return page
end)
router:post("/upload", upload)
router:get("/files/:id", download)

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, router)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
