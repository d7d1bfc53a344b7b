-- A chat by long polling: a request for news is answered when there are some. The
-- messages are an Event's business: whoever waits for it is woken when it is set, and it is
-- cleared at once, for the next ones.
--
--     curl http://127.0.0.1:8000/messages?after=0
--     curl http://127.0.0.1:8000/messages -d 'hello everybody'
--
-- usage: long_polling_chat.lua [port]

local green = require "greenlua"
local http = require "greenlua.http"
local json = require "greenlua.http.json"

local PATIENCE = 25 -- seconds; proxies like to give up after 30

local messages = {}
local news = green.Event()

local page = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>long polling</title>
<style>
  body { max-width: 34rem; margin: 3rem auto; padding: 0 1rem; color: #1c2b22; background: #f4f7f4;
    font: 16px/1.5 system-ui, sans-serif }
  li { padding: .3rem 0; border-bottom: 1px solid #d6e0d8 }
  input { width: 100%; padding: .6rem; font: inherit; border: 1px solid #9bb5a3;
    border-radius: 8px }
</style>
<h1>Long polling</h1>
<ol id="log"></ol>
<form id="form"><input id="text" placeholder="Say something" autocomplete="off" autofocus></form>
<script>
  const form = document.getElementById("form"), text = document.getElementById("text")
  form.onsubmit = (event) => {
    event.preventDefault()
    if (text.value) fetch("messages", { method: "POST", body: text.value })
    text.value = ""
  }
  async function poll(after) {
    const { last, messages } = await (await fetch("messages?after=" + after)).json()
    for (const message of messages) {
      const item = document.createElement("li")
      item.textContent = message
      document.getElementById("log").append(item)
    }
    return poll(last)
  }
  poll(0)
</script>
]]

-- What has been said after the n-th message; waits for it, but not for ever.
local function read(after)
  if #messages <= after then news:wait(PATIENCE) end
  return { last = #messages,
    messages = json.array(table.move(messages, after + 1, #messages, 1, {})) }
end

local function say(message)
  table.insert(messages, message)
  news:set()
  news:clear()
end

local function handle(req, res)
  if req.path == "/" then
    res:set_header("Content-Type", "text/html; charset=utf-8")
    return page
  elseif req.path ~= "/messages" then
    return 404, "no such page\n"
  elseif req.method == "POST" then
    say(assert(req:read("a", 4000)))
    return 204
  end
  local after = math.tointeger(tonumber(req.query.after or 0))
  if not after or after < 0 then return 400, "after: the number of a message\n" end
  return res:json(read(math.min(after, #messages)))
end

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, handle)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
