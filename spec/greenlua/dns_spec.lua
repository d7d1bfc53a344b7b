local green = require "greenlua"
local dns = require "greenlua.dns"
local nameserver = require "spec.support.nameserver"
local support = require "spec.support"

-- What dnsmasq knows.
local ZONE = table.concat({
  "--local=/test/ --local=/in-addr.arpa/ --local-ttl=300",
  "--host-record=both.test,127.0.0.5,::5,300 --host-record=four.test,127.0.0.4",
  "--host-record=six.test,::6 --cname=alias.test,both.test --cname=second.test,alias.test",
  "--mx-host=mail.test,a.mail.test,10 --mx-host=mail.test,b.mail.test,20",
  "--txt-record=text.test,one,'two words'",
  "--srv-host=_http._tcp.test,web.test,8080,1,2",
  "--ptr-record=9.2.0.192.in-addr.arpa,nine.test",
  "--dns-rr=zone.test,2,026e73047465737400",
  "--dns-rr=odd.test,65280,000102ff",
  "--caa-record=caa.test,0,issue,ca.test",
  "--naptr-record=naptr.test,1,2,s,SIP+D2U,,sip.test",
  "--auth-zone=auth.test --auth-server=ns.auth.test --auth-soa=7,root.auth.test,11,12,13",
}, " ")

describe("greenlua.dns", function()
  local server, resolver

  setup(function()
    server = nameserver.start(ZONE)
    resolver = dns.Resolver { servers = { server.address }, timeout = 30 }
  end)
  teardown(function()
    resolver:close()
    server:close()
  end)

  local function resolve(...) return assert(resolver:resolve(...)) end

  describe("getaddrinfo", function()
    it("gives the addresses of a name, of either family", function()
      local list = assert(resolver:getaddrinfo("both.test", 80))
      local found = {}
      for _, a in ipairs(list) do
        assert.equal(80, a.port)
        found[a.family] = a.addr
      end
      assert.same({ inet = "127.0.0.5", inet6 = "::5" }, found)
    end)

    it("gives those of one family", function()
      assert.same({ { family = "inet", addr = "127.0.0.5", port = 1 } },
        resolver:getaddrinfo("both.test", 1, { family = "inet" }))
      assert.same({ { family = "inet6", addr = "::5", port = 1 } },
        resolver:getaddrinfo("both.test", 1, { family = "inet6" }))
    end)

    it("follows aliases, and tells the name behind them", function()
      local list = assert(resolver:getaddrinfo("second.test", 80,
        { family = "inet", canonname = true }))
      assert.equal("127.0.0.5", list[1].addr)
      assert.equal("both.test", list[1].canonname)
    end)

    it("tells what went wrong", function()
      assert.same({ nil, "host or service not provided, or not known", "NXDOMAIN" },
        { resolver:getaddrinfo("nothing.test") })
      assert.same({ nil, "host or service not provided, or not known", "NODATA" },
        { resolver:getaddrinfo("four.test", nil, { family = "inet6" }) })
    end)

    it("does not mind a dot at the end, or capitals", function()
      assert.equal("127.0.0.4", assert(resolver:getaddrinfo("FOUR.test."))[1].addr)
    end)

    it("never asks anybody about numbers, of whatever form", function()
      local before = dns.stats().asked
      for host, addr in pairs {
        ["127.0.0.1"] = "127.0.0.1", ["127.1"] = "127.0.0.1", ["::1"] = "::1",
        ["::ffff:1.2.3.4"] = "::ffff:1.2.3.4", ["0x7f.1"] = "127.0.0.1",
        ["fe80::1%1"] = "fe80::1%lo", ["2001:DB8::1"] = "2001:db8::1",
      } do
        assert.equal(addr, assert(dns.getaddrinfo(host, 80))[1].addr)
      end
      assert.equal(before, dns.stats().asked)
    end)

    it("knows this machine", function()
      local before = dns.stats().asked
      assert(dns.getaddrinfo "localhost")
      local list = assert(dns.getaddrinfo("anything.localhost", 5))
      assert.same({ family = "inet6", addr = "::1", port = 5 }, list[1])
      assert.same({ family = "inet", addr = "127.0.0.1", port = 5 }, list[2])
      assert.equal(before, dns.stats().asked)
    end)

    it("gives addresses to bind to, and this machine's own, without a host", function()
      assert.same({ "::", "0.0.0.0" }, { dns.getaddrinfo(nil, 80, { passive = true })[1].addr,
        dns.getaddrinfo(nil, 80, { passive = true })[2].addr })
      assert.equal("127.0.0.1", dns.getaddrinfo(nil, 80, { family = "inet" })[1].addr)
      assert.same({ nil, "host or service not provided, or not known", "BADNAME" },
        { dns.getaddrinfo() })
    end)

    it("puts numbers of another family aside", function()
      assert.same({ nil, "host or service not provided, or not known", "NODATA" },
        { dns.getaddrinfo("127.0.0.1", 1, { family = "inet6" }) })
    end)

    it("asks nobody if it is told so", function()
      assert.same({ nil, "host or service not provided, or not known", "BADNAME" },
        { resolver:getaddrinfo("both.test", 80, { numerichost = true }) })
      assert.same({ nil, "service not supported for socket type", "SERVICE" },
        { resolver:getaddrinfo("both.test", "http", { numericserv = true }) })
    end)

    it("knows no such service", function()
      assert.same({ nil, "service not supported for socket type", "SERVICE" },
        { resolver:getaddrinfo("both.test", "no such service") })
    end)

    it("takes no name that cannot be one", function()
      local before = resolver:stats().asked
      for _, name in ipairs { "", ".", "a..b", ("x"):rep(64) .. ".test", ("x.") :rep(127) .. "xx",
          "a b", "nul\0.test", "b\xc3\xbccher.test", "back\\slash.test", ("long"):rep(1e5) } do
        local list, message, code = resolver:getaddrinfo(name, 80)
        assert.same({ nil, "host or service not provided, or not known", "BADNAME" },
          { list, message, code }, name:sub(1, 80))
        assert.equal("BADNAME", select(3, resolver:resolve(name, "A")))
      end
      assert.equal(before, resolver:stats().asked)
    end)

    it("calls misuse by its name", function()
      assert.error_matches(function() dns.getaddrinfo({}) end, "#1 to 'getaddrinfo' %(a string")
      assert.error_matches(function() dns.getaddrinfo("x", 65536) end, "0 to 65535.*65536")
      assert.error_matches(function() dns.getaddrinfo("x", {}) end, "#2 to 'getaddrinfo'")
      assert.error_matches(function() dns.getaddrinfo("x", 1, { family = "unix" }) end, '"unix"')
      assert.error_matches(function() dns.getaddrinfo("x", 1, { timeout = -1 }) end, "timeout.*-1")
      assert.error_matches(function() dns.getaddrinfo("x", 1, "y") end, "table of options")
      assert.error_matches(function() dns.getaddrinfo("x", 1, { famly = "inet" }) end,
        '#3 to \'getaddrinfo\' %(an option expected, got "famly"')
      assert.error_matches(function() dns.resolve("x", "NONSENSE") end, '"NONSENSE"')
      assert.error_matches(function() dns.resolve(1) end, "#1 to 'resolve'")
      assert.error_matches(function() dns.use {} end, "Resolver expected")
    end)
  end)

  describe("resolve", function()
    local function sorted(records, field)
      local list = {}
      for i, r in ipairs(records) do list[i] = r[field] end
      table.sort(list)
      return list
    end

    it("gives addresses, with the seconds for which they hold", function()
      local a = resolve("both.test")[1]
      assert.same({ "A", "both.test", "127.0.0.5" }, { a.type, a.name, a.addr })
      assert.is_true(a.ttl > 0 and a.ttl <= 300)
      assert.equal("::6", resolve("six.test", "AAAA")[1].addr)
    end)

    it("gives mail servers", function()
      local list = resolve("mail.test", "MX")
      assert.same({ 10, 20 }, sorted(list, "preference"))
      assert.same({ "a.mail.test", "b.mail.test" }, sorted(list, "exchange"))
    end)

    it("gives text", function()
      local t = resolve("text.test", "TXT")[1]
      assert.same({ "one", "two words" }, t.strings)
      assert.equal("onetwo words", t.text)
    end)

    it("gives services", function()
      local s = resolve("_http._tcp.test", "SRV")[1]
      assert.same({ 1, 2, 8080, "web.test" }, { s.priority, s.weight, s.port, s.target })
    end)

    it("gives aliases, name servers and names of addresses", function()
      assert.equal("both.test", resolve("alias.test", "CNAME")[1].target)
      assert.equal("ns.test", resolve("zone.test", "NS")[1].target)
      assert.equal("nine.test", resolve("9.2.0.192.in-addr.arpa", "PTR")[1].target)
      assert.equal("nine.test", resolve("192.0.2.9", "PTR")[1].target)
    end)

    it("follows aliases to records of other kinds", function()
      local a = resolve("second.test", "A")[1]
      assert.same({ "both.test", "127.0.0.5" }, { a.name, a.addr })
    end)

    it("gives CAA and NAPTR", function()
      local c = resolve("caa.test", "CAA")[1]
      assert.same({ 0, "issue", "ca.test" }, { c.flags, c.tag, c.value })
      local n = resolve("naptr.test", "NAPTR")[1]
      assert.same({ 1, 2, "s", "SIP+D2U", "", "sip.test" },
        { n.order, n.preference, n.flags, n.service, n.regexp, n.replacement })
    end)

    it("gives the bytes of what it does not know", function()
      assert.equal("\0\1\2\255", resolve("odd.test", "TYPE65280")[1].data)
      assert.equal("TYPE65280", resolve("odd.test", 65280)[1].type)
    end)

    it("tells no such name from no such records", function()
      assert.same({ nil, "no such name", "NXDOMAIN" }, { resolver:resolve "nothing.test" })
      assert.same({ nil, "the name has no such records", "NODATA" },
        { resolver:resolve("four.test", "MX") })
    end)

    it("asks other servers", function()
      local list = assert(dns.resolve("four.test", "A", { servers = { server.address } }))
      assert.equal("127.0.0.4", list[1].addr)
      list = assert(dns.query("four.test", "A", { servers = { "[::1]:" .. server.port } }))
      assert.equal("127.0.0.4", list[1].addr)
    end)

    it("asks by TCP alone", function()
      local own <close> = dns.Resolver { servers = { server.address }, tcp = true }
      assert.equal("127.0.0.4", own:resolve("four.test")[1].addr)
    end)
  end)

  describe("getnameinfo", function()
    it("gives the name of an address, and of a port", function()
      assert.same({ "nine.test", "65000" }, { resolver:getnameinfo("192.0.2.9", 65000) })
      assert.same({ "nine.test" }, { resolver:getnameinfo "192.0.2.9" })
    end)

    it("gives the number if there is no name", function()
      assert.equal("192.0.2.77", (resolver:getnameinfo "192.0.2.77"))
      assert.equal("192.0.2.9", (resolver:getnameinfo("192.0.2.9", nil, { numerichost = true })))
      assert.same({ nil, "no such name", "NXDOMAIN" },
        { resolver:getnameinfo("192.0.2.77", nil, { namereqd = true }) })
    end)

    it("takes numbers only", function()
      assert.equal("BADNAME", select(3, resolver:getnameinfo "both.test"))
    end)
  end)

  it("tells this machine's name", function()
    local pipe <close> = assert(io.popen "uname -n")
    assert.equal(pipe:read "l", dns.gethostname())
  end)

  describe("Resolver", function()
    it("takes no nonsense", function()
      assert.error_matches(function() dns.Resolver { servers = { "a.test" } } end, '"a.test"')
      assert.error_matches(function() dns.Resolver { servers = { "1.2.3.4:99999" } } end, "99999")
      assert.error_matches(function() dns.Resolver { servers = { "[::1" } } end, "numeric")
      assert.error_matches(function() dns.Resolver { servers = "1.2.3.4" } end, "servers: table")
      assert.error_matches(function() dns.Resolver { nonsense = 1 } end, "nonsense")
      assert.error_matches(function() dns.Resolver { timeout = 0 } end, "timeout")
      assert.error_matches(function() dns.Resolver { search = { 1 } } end, "search")
    end)

    it("answers nothing when it is closed", function()
      local own = dns.Resolver { servers = { server.address } }
      own:close()
      own:close()
      assert.same({ nil, "the resolver was closed", "CANCELLED" }, { own:resolve "four.test" })
      assert.same({ nil, "closed", "CANCELLED" }, { own:getaddrinfo "four.test" })
      assert.equal("127.0.0.1", own:getaddrinfo("127.0.0.1")[1].addr)
    end)

    it("can be asked by many at once", function()
      local all = {}
      for i = 1, 1000 do
        all[i] = green.spawn(function() return resolver:resolve(("n%d.test"):format(i)) end)
      end
      green.joinall(all)
      for _, g in ipairs(all) do assert.same({ nil, "no such name", "NXDOMAIN" }, { g:get() }) end
    end)

    it("tells when no descriptor is left, and goes on when there are some", function()
      local path = os.tmpname()
      local file = assert(io.open(path, "w"))
      file:write [[
        local own = require("greenlua.dns").Resolver { servers = { arg[1] } }
        require("greenlua").sleep(0)
        local held = {}
        repeat held[#held + 1] = io.open "/dev/null" or false until not held[#held]
        print(select(2, own:getaddrinfo "four.test"))
        for _, f in ipairs(held) do if f then f:close() end end
        print(own:getaddrinfo("four.test")[1].addr)
      ]]
      file:close()
      local command = ("ulimit -n 24; env -u LD_PRELOAD timeout 180 %s %s %s 2>&1")
        :format(support.greenlua, path, server.address)
      local pipe <close> = assert(io.popen(command))
      local out = pipe:read "a"
      os.remove(path)
      assert.equal("temporary failure in name resolution\tUNREACHABLE\n127.0.0.4\n", out)
    end)

    it("takes the system's place", function()
      dns.use(resolver)
      local list, message = dns.getaddrinfo "four.test"
      dns.use()
      assert.is_truthy(list, message)
      assert.equal("127.0.0.4", list[1].addr)
    end)

    it("is no way to hold the program up", function()
      local own = dns.Resolver { servers = { server.address } } -- luacheck: ignore
      own = nil -- luacheck: ignore
      collectgarbage()
    end)
  end)
end)
