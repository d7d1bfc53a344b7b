-- Two greenlets poll with a timeout, and a third one does something meanwhile:
-- `select` blocks nobody else.
--
-- usage: select.lua [seconds]    how long a second is

local green = require "greenlua"
local now = require("greenlua.socket").gettime

local second = tonumber(arg[1]) or 1
local start = now()

local function tic() return ("at %.1f seconds"):format((now() - start) / second) end

local function poll(seconds)
  print("Started Polling: " .. tic())
  green.select({}, {}, seconds * second)
  print("Ended Polling: " .. tic())
end

local function something_else()
  print("Hey lets do some stuff while the greenlets poll, " .. tic())
  green.sleep(second)
end

green.joinall {
  green.spawn(poll, 1),
  green.spawn(poll, 2),
  green.spawn(something_else),
}
