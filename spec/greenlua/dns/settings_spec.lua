-- resolv.conf, the hosts file, the environment.

local green = require "greenlua"
local dns = require "greenlua.dns"
local nameserver = require "spec.support.nameserver"
local support = require "spec.support"

local function write(path, text)
  local file <close> = assert(io.open(path, "w"))
  file:write(text)
end

local function with_file(text, body)
  local path = os.tmpname()
  write(path, text)
  local guard <close> = setmetatable({}, { __close = function() os.remove(path) end }) -- luacheck: ignore
  return body(path)
end

describe("the settings of greenlua.dns", function()
  local liar, resolver
  local answers -- name -> last byte of its address

  before_each(function()
    answers = {}
    liar = nameserver.lie(function(q)
      local last = answers[q.name]
      if last == "fail" then return nameserver.reply(q, { rcode = 2 }) end
      if last == "nodata" or (last and q.type ~= 1) then return nameserver.reply(q) end
      if not last then return nameserver.reply(q, { rcode = 3 }) end
      return nameserver.reply(q, { answers = { nameserver.a(0, 127, 0, 0, last) } })
    end)
  end)
  after_each(function()
    if resolver then resolver:close() end
    liar:close()
  end)

  local function asked()
    local names = {}
    for _, q in ipairs(liar.asked) do
      if q.type == 1 then names[#names + 1] = q.name end
    end
    liar.asked = {}
    return table.concat(names, " ")
  end

  local function open(o)
    o.servers = o.servers or { liar.address }
    o.timeout = o.timeout or 2
    resolver = dns.Resolver(o)
    return resolver
  end

  describe("search list", function()
    it("comes first for a name with few dots, second for others", function()
      open { search = { "one.test", "two.test." }, ndots = 2 }
      resolver:getaddrinfo "a"
      assert.equal("a.one.test a.two.test a", asked())
      resolver:getaddrinfo "a.b"
      assert.equal("a.b.one.test a.b.two.test a.b", asked())
      resolver:getaddrinfo "a.b.c"
      assert.equal("a.b.c a.b.c.one.test a.b.c.two.test", asked())
      resolver:getaddrinfo "a."
      assert.equal("a", asked())
    end)

    it("ends with the first name that there is", function()
      open { search = { "one.test", "two.test" } }
      answers["a.two.test"] = 7
      assert.equal("127.0.0.7", resolver:getaddrinfo("a")[1].addr)
      assert.equal("a.one.test a.two.test", asked())
    end)

    it("passes over names without addresses, and tells of them in the end", function()
      open { search = { "one.test", "two.test" } }
      answers["a.one.test"] = "nodata"
      assert.equal("NODATA", select(3, resolver:getaddrinfo "a"))
      answers["a.one.test"] = "fail"
      assert.equal("SERVFAIL", select(3, resolver:getaddrinfo "a"))
    end)

    it("passes over what would be too long", function()
      open { search = { ("x."):rep(100) .. "test" } }
      local name = ("y."):rep(40) .. "test"
      answers[name] = 5
      assert.equal("127.0.0.5", resolver:getaddrinfo(name)[1].addr)
    end)

    it("is for resolve only if it is asked for", function()
      open { search = { "one.test" } }
      answers["a.one.test"] = 7
      assert.equal("NXDOMAIN", select(3, resolver:resolve "a"))
      assert.equal("127.0.0.7", resolver:resolve("a", "A", { search = true })[1].addr)
      assert.equal("NXDOMAIN", select(3, resolver:resolve("b", "A", { search = true })))
    end)
  end)

  describe("resolv.conf", function()
    it("says which servers, domains and options", function()
      with_file(("# comment\n; another\nnameserver nonsense\nnameserver [127.0.0.1]:%d\n"
          .. "domain lost.test\nsearch one.test\ttwo.test # end\n"
          .. "options ndots:3 timeout:1 attempts:1 nonsense\n"):format(liar.port), function(path)
        resolver = dns.Resolver { resolv_conf = path }
        resolver:getaddrinfo "a.b.c"
        assert.equal("a.b.c.one.test a.b.c.two.test a.b.c", asked())
      end)
    end)

    it("is read again when it has changed, and so is the hosts file", function()
      local other <close> = nameserver.lie(function(q)
        return nameserver.reply(q, { answers = { nameserver.a(600, 127, 9, 9, 9) } })
      end)
      with_file(("nameserver %s\n"):format(liar.address), function(path)
        with_file("127.7.7.7 mine.test\n", function(hosts)
          resolver = dns.Resolver { resolv_conf = path, hosts = hosts }
          answers["a.test"], answers["mine.test"] = 1, 3
          assert.equal("127.0.0.1", resolver:resolve("a.test")[1].addr)
          assert.equal("127.7.7.7", resolver:getaddrinfo("mine.test")[1].addr)
          write(path, ("nameserver %s\noptions rotate\n"):format(other.address))
          write(hosts, "127.8.8.8 mine.test other.mine.test\n")
          green.sleep(1.01) -- it is looked at once a second
          assert.equal("127.9.9.9", resolver:resolve("a.test")[1].addr)
          assert.equal("127.8.8.8", resolver:getaddrinfo("mine.test")[1].addr)
        end)
      end)
    end)

    it("may be missing", function()
      resolver = dns.Resolver { resolv_conf = "/nonexistent/resolv.conf", hosts = "/nonexistent" }
      assert.equal("127.0.0.1", resolver:getaddrinfo("127.0.0.1")[1].addr)
      resolver:getaddrinfo("x.test", 1, { timeout = 0 })
    end)
  end)

  describe("hosts file", function()
    it("has the first word", function()
      with_file("127.0.0.50 fifty.test alias.test\r\n::50 fifty.test\n127.0.0.51\tFIFTY.test # x\n"
          .. "nonsense more.test\n127.0.0.52\n\0\0\n# 127.0.0.1 comment.test\n127.0.0.53 last.test",
        function(hosts)
          open { hosts = hosts }
          local found = {}
          for _, a in ipairs(resolver:getaddrinfo "fifty.test") do found[#found + 1] = a.addr end
          table.sort(found)
          assert.same({ "127.0.0.50", "127.0.0.51", "::50" }, found)
          assert.equal("::50", resolver:getaddrinfo("Fifty.Test.", 1, { family = "inet6" })[1].addr)
          local alias = resolver:getaddrinfo("alias.test", 1, { canonname = true })[1]
          assert.same({ "127.0.0.50", "fifty.test" }, { alias.addr, alias.canonname })
          assert.equal("127.0.0.53", resolver:getaddrinfo("last.test")[1].addr)
          assert.equal("fifty.test", (resolver:getnameinfo "127.0.0.50"))
          assert.equal("", asked())
          assert.equal("NXDOMAIN", select(3, resolver:getaddrinfo "comment.test"))
        end)
    end)

    it("may be large", function()
      local lines = {}
      for i = 1, 20000 do
        lines[i] = ("127.1.%d.%d host%d.test"):format(i // 256, i % 256, i)
      end
      with_file(table.concat(lines, "\n"), function(hosts)
        open { hosts = hosts }
        for _, i in ipairs { 1, 777, 20000 } do
          assert.equal(("127.1.%d.%d"):format(i // 256, i % 256),
            resolver:getaddrinfo(("host%d.test"):format(i))[1].addr)
        end
        assert.equal("", asked())
      end)
    end)
  end)

  describe("environment", function()
    local program = [[
      local dns = require "greenlua.dns"
      local list, message, code = dns.getaddrinfo(arg[1], 80)
      print(list and list[1].addr or message, code)
    ]]

    -- The child blocks, but our server must answer it: so it is started, not run.
    local function run(env, name)
      local path = os.tmpname()
      write(path, program)
      local child <close> = support.start({ path, name }, env)
      while child:running() do green.sleep(0.002) end
      os.remove(path)
      local out, err = child:output()
      return out, err
    end

    it("names other files", function()
      with_file(("nameserver %s\noptions timeout:1"):format(liar.address), function(conf)
        with_file("127.0.0.99 mine.test\n", function(hosts)
          local env = { GREENLUA_RESOLV_CONF = conf, GREENLUA_HOSTS = hosts,
            LOCALDOMAIN = "here.test", RES_OPTIONS = "ndots:2" }
          answers["a.b.here.test"] = 9
          assert.equal("127.0.0.9\tnil\n", (run(env, "a.b")))
          assert.equal("127.0.0.99\tnil\n", (run(env, "mine.test")))
        end)
      end)
    end)

    it("chooses threads", function()
      local env = { GREENLUA_RESOLVER = "thread" }
      assert.equal("127.0.0.1\tnil\n", (run(env, "localhost")))
      assert.equal("127.0.0.1\tnil\n", (run(env, "127.0.0.1")))
      assert.equal("host or service not provided, or not known\tBADNAME\n", (run(env, "a..b")))
    end)

    it("names what it does not know", function()
      local _, err = run({ GREENLUA_RESOLVER = "dial" }, "x.test")
      assert.matches("bad GREENLUA_RESOLVER 'dial' %(ares or thread expected%)", err)
    end)
  end)

  describe("threads", function()
    it("find what the C library finds", function()
      resolver = dns.Resolver { threads = true }
      local name = dns.gethostname()
      local own = resolver:getaddrinfo(name, 80) -- in /etc/hosts, mostly
      local pipe <close> = assert(io.popen(("getent ahosts '%s'"):format(name)))
      local theirs = pipe:read "a"
      if own then
        assert.is_truthy(theirs:find(own[1].addr, 1, true))
      else
        assert.equal("", theirs)
      end
    end)

    it("find the name of an address", function()
      resolver = dns.Resolver { threads = true }
      local pipe <close> = assert(io.popen "getent hosts 127.0.0.1")
      assert.equal(pipe:read("a"):match "^%S+%s+(%S+)", (resolver:getnameinfo "127.0.0.1"))
    end)

    it("are left alone by those who are killed", function()
      resolver = dns.Resolver { threads = true }
      local all = {}
      for i = 1, 30 do
        all[i] = green.spawn(resolver.getaddrinfo, resolver, dns.gethostname(),
          80, { timeout = i * 1e-4 })
      end
      green.sleep(0)
      for i = 1, 10 do all[i]:kill() end
      green.joinall(all)
      for i = 11, 30 do assert.is_true(all[i]:successful()) end
    end)
  end)
end)
