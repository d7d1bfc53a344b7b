local http = require "greenlua.http"
local json = require "greenlua.http.json"
local forms = require "greenlua.http.forms"
local cookies = require "greenlua.http.cookies"
local luasocket = require "greenlua.http.luasocket"
local static = require "greenlua.http.static"

-- What is called with what, and what that is told.
local cases = {
  { "bad argument #1 to 'decode' (string expected, got nil)", forms.decode },
  { "bad argument #1 to 'list' (string expected, got table)", forms.list, {} },
  { "bad argument #1 to 'encode' (table expected, got string)", forms.encode, "a=b" },
  { "bad argument #1 to 'parse' (string expected, got nil)", cookies.parse },
  { "bad argument #1 to 'escape' (string expected, got boolean)", http.escape, true },
  { "bad argument #1 to 'array' (table expected, got nil)", json.array },
  { "bad argument #1 to 'handler' (string expected, got nil)", static.handler },
  { "bad argument #2 to 'handler' (table expected, got string)", static.handler, "a", "b" },
  { "bad argument #1 to 'request' (table expected, got nil)", luasocket.request },
  { "bad argument #2 to 'request' (string expected, got table)", luasocket.request, "http://x/",
    {} },
  { "bad argument #1 to 'route' (string expected, got nil)", function(...)
    http.router():route(...)
  end },
  { "bad argument #3 to 'route' (a handler is missing)", function(...)
    http.router():get(...)
  end, "/" },
  { "there is a handler for GET /", function(f)
    http.router():get("/", f):get("/", f)
  end, print },
  { "bad argument #1 to 'mount' (string expected, got table)", function(...)
    http.router():mount(...)
  end, {}, print },
}

describe("a module of greenlua.http that is misused", function()
  for _, case in ipairs(cases) do
    local message, f = case[1], case[2]
    it("says: " .. message, function()
      local ok, err = pcall(function() f(table.unpack(case, 3, #case)) end)
      assert.is_false(ok)
      assert.equal(message, err:match "^[^:]*/misuse_spec%.lua:%d+: (.*)")
    end)
  end
end)
