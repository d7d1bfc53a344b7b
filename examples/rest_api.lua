-- A JSON interface to a list of books. Try it with
--
--     curl http://127.0.0.1:8000/books
--     curl http://127.0.0.1:8000/books -d '{"title": "Momo"}'
--     curl http://127.0.0.1:8000/books/1 -X DELETE
--
-- usage: rest_api.lua [port]

local http = require "greenlua.http"

local books, last = {}, 0

-- What is missing is answered by a 404, wherever that is found out.
local function find(req)
  local id = math.tointeger(tonumber(req.params.id))
  return books[id] or http.abort(404, "no such book")
end

local function read(req)
  local book = assert(req:json()) -- what is no JSON is answered by a 400
  if type(book) ~= "table" or type(book.title) ~= "string" then
    http.abort(422, "a book has a title")
  end
  return book
end

local router = http.router()

router:use(function(req, res, next) -- around every handler
  res:set_header("Cache-Control", "no-store")
  return next(req, res)
end)

router:get("/books", function(_, res)
  local list = {}
  for id = 1, last do list[#list + 1] = books[id] end
  return res:json(http.json.array(list))
end)

router:post("/books", function(req, res)
  local book = read(req)
  last = last + 1
  book.id = last
  books[last] = book
  res:set_header("Location", "/books/" .. last)
  return res:json(book, 201)
end)

router:get("/books/:id", function(req, res) return res:json(find(req)) end)

router:put("/books/:id", function(req, res)
  local book, new = find(req), read(req)
  new.id = book.id
  books[book.id] = new
  return res:json(new)
end)

router:delete("/books/:id", function(req)
  books[find(req).id] = nil
  return 204
end)

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, router)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
