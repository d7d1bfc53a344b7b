-- Whatever waits takes a timeout. A number of seconds is answered calmly where
-- there is an answer (`join` returns false); a Timeout object is raised.
--
-- usage: timeout_everywhere.lua [seconds]

local green = require "greenlua"

local seconds = tonumber(arg[1]) or 1

local function wait() green.sleep(2 * seconds) end

local timer = green.Timeout(seconds)
local thread1 = green.spawn(wait)
local _, err = pcall(thread1.join, thread1, timer)
if err == timer then print "Thread 1 timed out" end

timer = green.Timeout.start_new(seconds)
local thread2 = green.spawn(wait)
_, err = pcall(thread2.get, thread2, timer)
if err == timer then print "Thread 2 timed out" end

_, err = pcall(green.with_timeout, seconds, wait)
if green.Timeout.is(err) then print "Thread 3 timed out" end
