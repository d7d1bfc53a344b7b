-- A chat in the browser, by WebSockets: open http://127.0.0.1:8000/ in two windows.
--
-- usage: websocket_chat.lua [port]

local http = require "greenlua.http"
local json = require "greenlua.http.json"
local websocket = require "greenlua.websocket"

local page = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>greenlua chat</title>
<style>
  :root { --ink: #1c2b22; --green: #2f7d4f; --paper: #f4f7f4; --line: #d6e0d8; color-scheme: light }
  * { box-sizing: border-box }
  body { margin: 0; height: 100vh; display: grid; place-items: center; color: var(--ink);
    font: 16px/1.45 system-ui, sans-serif; background: linear-gradient(160deg, #dfeee3, #b9d8c4) }
  main { width: min(38rem, 100vw); height: min(46rem, 100vh); display: flex; flex-direction: column;
    background: var(--paper); border-radius: 14px; overflow: hidden;
    box-shadow: 0 18px 50px rgb(20 60 35 / .25) }
  header { display: flex; align-items: center; gap: .6rem; padding: .9rem 1.2rem; color: white;
    background: var(--green) }
  h1 { font-size: 1.05rem; margin: 0; flex: 1 }
  #state { font-size: .85rem; opacity: .9 }
  #state::before { content: ""; display: inline-block; width: .6em; height: .6em;
    margin-right: .4em;
    border-radius: 50%; background: #e9b44c }
  .open #state::before { background: #9be7b4 }
  ol { flex: 1; margin: 0; padding: 1rem 1.2rem; overflow-y: auto; list-style: none }
  li { width: fit-content; max-width: 80%; margin: .35rem 0; padding: .5rem .8rem;
    background: white; border: 1px solid var(--line); border-radius: 4px 14px 14px 14px;
    overflow-wrap: anywhere }
  li b { display: block; font-size: .78rem; color: var(--green) }
  li.mine { margin-left: auto; background: #dcf3e3; border-radius: 14px 4px 14px 14px }
  li.note { margin: .35rem auto; border: 0; background: none; font-size: .85rem; color: #6a7d70 }
  form { display: flex; gap: .6rem; padding: .8rem 1.2rem; border-top: 1px solid var(--line) }
  input { flex: 1; min-width: 0; padding: .6rem .8rem; font: inherit; border: 1px solid var(--line);
    border-radius: 10px }
  #name { flex: 0 0 7rem }
  button { padding: .6rem 1.1rem; font: inherit; color: white; background: var(--green); border: 0;
    border-radius: 10px; cursor: pointer }
  :focus-visible { outline: 2px solid var(--green); outline-offset: 1px }
</style>
<main>
  <header><h1>greenlua chat</h1><span id="state">connecting</span></header>
  <ol id="log" aria-live="polite"></ol>
  <form id="form">
    <input id="name" aria-label="your name" maxlength="20" autocomplete="nickname">
    <input id="text" aria-label="message" placeholder="Say something" autocomplete="off" autofocus>
    <button>Send</button>
  </form>
</main>
<script>
  const find = (id) => document.getElementById(id)
  const log = find("log"), form = find("form")
  const query = new URLSearchParams(location.search)
  find("name").value = query.get("name") || "guest-" + Math.floor(Math.random() * 1000)
  let socket

  function show(kind, name, text) {
    const item = document.createElement("li")
    item.className = kind
    if (name) item.append(Object.assign(document.createElement("b"), { textContent: name }))
    item.append(text)
    log.append(item)
    log.scrollTop = log.scrollHeight
  }

  function connect() {
    socket = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*/, "") + "chat")
    socket.onopen = () => {
      document.body.className = "open"
      if (query.get("say")) send(query.get("say"))
    }
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      if (message.people) {
        find("state").textContent = message.people + (message.people == 1 ? " person" : " people")
      } else {
        show(message.name == find("name").value ? "mine" : "", message.name, message.text)
      }
    }
    socket.onclose = ({ code }) => {
      document.body.className = ""
      find("state").textContent = "disconnected (" + code + ")"
      setTimeout(connect, 1000)
    }
  }

  function send(text) {
    socket.send(JSON.stringify({ name: find("name").value, text }))
  }

  form.onsubmit = (event) => {
    event.preventDefault()
    if (find("text").value && socket.readyState == 1) send(find("text").value)
    find("text").value = ""
  }
  connect()
</script>
]]

local people, count = {}, 0
local history = {} -- what newcomers are told

-- Whoever is too slow is left out rather than waited for (`overflow`).
local function tell_all(message)
  for ws in pairs(people) do ws:send(message) end
end

local function tell_count()
  tell_all(json.encode { people = count })
end

local function leave(ws)
  people[ws] = nil
  count = count - 1
  tell_count()
end

local function is_message(value)
  return type(value) == "table" and type(value.name) == "string" and type(value.text) == "string"
    and #value.name <= 80 and #value.text <= 4000
end

local function chat(ws)
  for _, message in ipairs(history) do ws:send(message) end
  people[ws] = true
  count = count + 1
  local _ <close> = setmetatable({}, { __close = function() leave(ws) end })
  tell_count()
  for text in ws:messages() do
    local value = json.decode(text)
    if not is_message(value) then return ws:close(1003, "a name and a text, please") end
    local message = json.encode { name = value.name, text = value.text }
    table.insert(history, message)
    if #history > 50 then table.remove(history, 1) end
    tell_all(message)
  end
end

local open = websocket.handler(chat, { origin = "same", max_message = 16384, overflow = "close" })

local function handle(req, res)
  if req.path == "/chat" then return open(req, res) end
  if req.path ~= "/" then return 404, "no such page\n" end
  res:set_header("Content-Type", "text/html; charset=utf-8")
  return page
end

local server <close> = http.Server({ "127.0.0.1", arg[1] or 8000 }, handle)
assert(server:start())
print("listening on 127.0.0.1 port " .. server.port)
io.stdout:flush()
assert(server:serve_forever())
