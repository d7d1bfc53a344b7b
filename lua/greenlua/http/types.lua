--- Media types by the ends of file names.
--
-- @module greenlua.http.types

local M = {}

local known = {
  html = "text/html; charset=utf-8", htm = "text/html; charset=utf-8",
  css = "text/css; charset=utf-8", txt = "text/plain; charset=utf-8",
  md = "text/markdown; charset=utf-8", csv = "text/csv; charset=utf-8",
  js = "text/javascript; charset=utf-8", mjs = "text/javascript; charset=utf-8",
  json = "application/json", map = "application/json", webmanifest = "application/manifest+json",
  xml = "application/xml", svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg",
  jpeg = "image/jpeg", gif = "image/gif", webp = "image/webp", avif = "image/avif",
  ico = "image/x-icon", woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf",
  otf = "font/otf", mp3 = "audio/mpeg", ogg = "audio/ogg", wav = "audio/wav",
  mp4 = "video/mp4", webm = "video/webm", pdf = "application/pdf", wasm = "application/wasm",
  zip = "application/zip", gz = "application/gzip", tar = "application/x-tar",
  lua = "text/plain; charset=utf-8",
}

--- The table of types, by what follows the last dot; a program may add to it.
M.known = known

--- The type of a file.
-- @tparam string path
-- @treturn string `"application/octet-stream"` if nothing is known
function M.of(path)
  local suffix = path:match "%.([^./]+)$"
  return suffix and known[suffix:lower()] or "application/octet-stream"
end

return M
