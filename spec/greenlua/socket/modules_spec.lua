local daemon = require "spec.support.daemon"
local lfs = require "lfs"
local support = require "spec.support"

local PROGRAM = "spec/greenlua/socket/unmodified.lua"
local COUNT = 50

local function files(folder)
  local list = {}
  for name in lfs.dir(folder) do
    if not name:find "^%." then list[#list + 1] = daemon.read(folder .. "/" .. name) end
  end
  return list
end

local function assert_all_succeed(...)
  local code, out, err = support.run { PROGRAM, ... }
  assert.same({ 0, "" }, { code, err }, out)
  assert.equal(("%d of %d succeeded\n"):format(COUNT, COUNT), out)
end

describe("LuaSocket's own modules", function()
  it("load on greenlua.socket, and fail as on LuaSocket", function()
    local code, out, err = support.run { PROGRAM, "pure" }
    assert.same({ 0, "" }, { code, err })
    assert.equal("nil\thost or service not provided, or not known\n"
      .. ("nil\tconnection refused\n"):rep(3), out)
  end)

  it("make many HTTP requests at once, of nginx", function()
    local server <close> = daemon.nginx [[
      location /me { return 200 "you are $args"; }
      location /moved { return 302 /file.txt; }
      location /put/ {
        dav_methods PUT; create_full_put_path on; dav_access user:rw group:r all:r;
        limit_except GET { auth_basic "put"; auth_basic_user_file users; }
      }]]
    daemon.write(server.folder .. "/files/file.txt", ("a line\n"):rep(3000))
    daemon.write(server.folder .. "/users", "user:{PLAIN}secret\n")
    assert_all_succeed("http", ("http://127.0.0.1:%d/"):format(server.port), COUNT)
  end)

  it("send many mails at once", function()
    local server <close> = daemon.smtpd()
    assert_all_succeed("smtp", "127.0.0.1:" .. server.port, COUNT)
    local subjects = {}
    for _, mail in ipairs(files(server.folder .. "/mail/new")) do
      local i = mail:match "[Ss]ubject: message (%d+)"
      assert.matches("\ntext of " .. i, mail)
      subjects[i] = true
    end
    for i = 1, COUNT do assert.is_true(subjects[tostring(i)]) end
  end)

  it("write and read many files at once by FTP", function()
    local server <close> = daemon.vsftpd()
    assert_all_succeed("ftp", "127.0.0.1:" .. server.port, COUNT)
    assert.equal(COUNT, #files(server.folder .. "/files"))
  end)
end)
