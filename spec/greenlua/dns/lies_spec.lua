local await = require "spec.support.await"
local green = require "greenlua"
local core = require "greenlua.core"
local dns = require "greenlua.dns"
local nameserver = require "spec.support.nameserver"
local waitable = require "spec.support.waitable"

local reply, record, a = nameserver.reply, nameserver.record, nameserver.a

-- Ask a server that answers as it likes.
local function ask(answer, kind, answer_tcp, options)
  local liar <close> = nameserver.lie(answer, answer_tcp)
  options = options or {}
  options.servers = { liar.address }
  options.timeout, options.attempts = options.timeout or 30, options.attempts or 1
  local resolver <close> = dns.Resolver(options)
  local list, message, code = resolver:resolve("lie.test", kind)
  return list, message, code, liar
end

local function code_of(...) return select(3, ask(...)) end

local function silent() end

describe("a name server", function()
  it("that never answers is given up", function()
    local liar <close> = nameserver.lie(silent)
    local resolver <close> =
      dns.Resolver { servers = { liar.address }, timeout = 0.02, attempts = 2 }
    local began = core.now()
    assert.same({ nil, "no name server answered", "TIMEOUT" }, { resolver:resolve "lie.test" })
    assert.is_true(core.now() - began >= 0.06) -- the second attempt has twice the time
    await(function() return liar.queries == 2 end)
  end)

  it("that never answers does not outlast our timeout", function()
    local liar <close> = nameserver.lie(silent)
    local resolver <close> = dns.Resolver { servers = { liar.address }, timeout = 60 }
    for _, f in ipairs { resolver.resolve, resolver.getaddrinfo } do
      local began = core.now()
      local list, message, code = f(resolver, "lie.test", nil, { timeout = 0.01 })
      assert.same({ nil, "timeout", "TIMEOUT" }, { list, message, code })
      assert.is_true(core.now() - began >= 0.01)
      assert.equal(0, resolver:stats().out)
    end
  end)

  it("that is not there is told apart", function()
    local liar = nameserver.lie(silent)
    liar:close()
    local resolver <close> = dns.Resolver { servers = { liar.address }, timeout = 60 }
    assert.same({ nil, "no name server could be reached", "UNREACHABLE" },
      { resolver:resolve "lie.test" })
    assert.same({ nil, "temporary failure in name resolution", "UNREACHABLE" },
      { resolver:getaddrinfo "lie.test" })
  end)

  for rcode, code in pairs { "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "SERVFAIL" } do
    it(("that answers with code %d is believed"):format(rcode), function()
      assert.equal(code, code_of(function(q) return reply(q, { rcode = rcode }) end))
    end)
  end

  it("that fails is asked again, and so is the next one", function()
    local first <close> = nameserver.lie(function(q) return reply(q, { rcode = 2 }) end)
    local second <close> = nameserver.lie(function(q)
      return reply(q, { answers = { a(1, 1, 2, 3, 4) } })
    end)
    local servers = { first.address, second.address }
    local resolver <close> = dns.Resolver { servers = servers, timeout = 30 }
    assert.equal("1.2.3.4", assert(resolver:resolve "lie.test")[1].addr)
    assert.equal(1, first.queries)
  end)

  it("that does not know EDNS is asked without, by all who ask", function()
    local liar <close> = nameserver.lie(function(q)
      return q.edns and reply(q, { rcode = 1 }) or reply(q, { answers = { a(1, 1, 2, 3, 4) } })
    end)
    local resolver <close> = dns.Resolver { servers = { liar.address }, timeout = 30 }
    local all = {}
    for i = 1, 20 do
      all[i] = green.spawn(function() return resolver:resolve(("n%d.test"):format(i)) end)
    end
    for _, g in ipairs(all) do assert.equal("1.2.3.4", assert(g:get())[1].addr) end
  end)

  it("is not believed if its answer is to another question", function()
    local right
    local function answer(q)
      right = reply(q, { answers = { a(1, 1, 1, 1, 1) } })
      local other = { id = q.id, question = nameserver.name "other.test" .. "\0\1\0\1" }
      return {
        reply(q, { id = q.id ~ 1, answers = { a(1, 6, 6, 6, 6) } }),
        reply(other, { answers = { a(1, 6, 6, 6, 6) } }),
        reply(q, { question = q.question:sub(1, -4) .. "\28\0\1", answers = { a(1, 6, 6, 6, 6) } }),
        right,
      }
    end
    assert.equal("1.1.1.1", assert(ask(answer))[1].addr)
  end)

  it("is not believed about other names", function()
    assert.equal("NODATA", code_of(function(q)
      return reply(q, { answers = { record(1, 60, "\1\2\3\4", "other.test") } })
    end))
  end)

  it("may send garbage, empty and torn messages, and is waited for nevertheless", function()
    local function answer(q, message)
      return { "", "\0", message:sub(1, 11), ("\255"):rep(600), message,
        reply(q, { answers = { a(1, 1, 2, 3, 4) } }) }
    end
    assert.equal("1.2.3.4", assert(ask(answer))[1].addr)
  end)

  for name, answers in pairs {
    ["a record that is cut off"] = { a(1, 1, 2, 3, 4):sub(1, -2) },
    ["more records announced than sent"] = { a(1, 1, 2, 3, 4), count = 9 },
    ["a name that points at itself"] = { "\xc0\x1a" .. a(1, 1, 2, 3, 4):sub(3) },
    ["a name that points ahead"] = { "\xc1\xff" .. a(1, 1, 2, 3, 4):sub(3) },
    ["a reserved kind of label"] = { "\x81x\0" .. a(1, 1, 2, 3, 4):sub(3) },
  } do
    it("that sends " .. name .. " gives a malformed answer", function()
      local list, message, code = ask(function(q)
        return reply(q, { answers = answers, count = answers.count })
      end)
      assert.same({ nil, "the name server's answer is malformed", "BADRESP" },
        { list, message, code })
    end)
  end

  for name, data in pairs {
    ["an address of three bytes"] = "\1\2\3", ["an address of five"] = "\1\2\3\4\5",
  } do
    it("that sends " .. name .. " gives a malformed answer", function()
      assert.equal("BADRESP", code_of(function(q)
        return reply(q, { answers = { record(1, 1, data) } })
      end))
    end)
  end

  for kind, case in pairs {
    TXT = { 16, "\5abc" }, MX = { 15, "\0" }, SRV = { 33, "\0\1\0\2\0" }, SOA = { 6, "\1a\0" },
    PTR = { 12, "\70x" }, CAA = { 257, "\0\9issue" }, NAPTR = { 35, "\0\1\0\1\9" },
  } do
    it(("that tears a %s record gives a malformed answer"):format(kind), function()
      assert.equal("BADRESP", code_of(function(q)
        return reply(q, { answers = { record(case[1], 1, case[2]) } })
      end, kind))
    end)
  end

  it("that sends a name of more than 255 bytes gives a malformed answer", function()
    local function alias(name)
      return code_of(function(q)
        return reply(q, { answers = { record(5, 1, nameserver.name(name)) } })
      end, "CNAME")
    end
    local label = ("x"):rep(63)
    assert.is_nil(alias(table.concat({ label, label, label, ("x"):rep(61) }, ".")))
    assert.equal("BADRESP", alias(table.concat({ label, label, label, ("x"):rep(62) }, ".")))
    assert.equal("BADRESP", alias((label .. "."):rep(15)))
  end)

  it("whose aliases go in circles gives a malformed answer", function()
    assert.equal("BADRESP", code_of(function(q)
      return reply(q, { answers = {
        record(5, 1, nameserver.name "b.test"), record(5, 1, "\xc0\x0c", "b.test"),
      } })
    end))
  end)

  it("escapes in names what is no letter", function()
    local list = assert(ask(function(q)
      return reply(q, { answers = { record(12, 1, "\4a.b\0\2\\c\3x\xff \0") } })
    end, "PTR"))
    assert.equal([[a\.b\000.\\c.x\255\032]], list[1].target)
  end)

  it("says what a SOA has", function()
    local data = nameserver.name "ns.test" .. nameserver.name "root.test"
      .. string.pack(">I4I4I4I4I4", 1, 2, 3, 4, 0xffffffff)
    local soa = assert(ask(function(q) return reply(q, { answers = { record(6, 9, data) } }) end,
      "SOA"))[1]
    assert.same({ "ns.test", "root.test", 1, 2, 3, 4, 0xffffffff, 9 }, { soa.mname, soa.rname,
      soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum, soa.ttl })
  end)

  it("that truncates is asked by TCP", function()
    local answers = {}
    for i = 1, 200 do answers[i] = a(60, 10, 0, i // 256, i % 256) end
    local list = assert(ask(
      function(q) return reply(q, { flags = 0x8380 }) end, "A",
      function(q) return reply(q, { answers = answers }) end, { timeout = 30 }))
    assert.equal(200, #list)
    assert.equal("10.0.0.200", list[200].addr)
  end)

  it("that truncates and has no TCP fails", function()
    local _, message, code = ask(function(q) return reply(q, { flags = 0x8380 }) end)
    assert.same({ "no name server could be reached", "UNREACHABLE" }, { message, code })
  end)

  it("that closes the TCP connection, or sends garbage there, fails", function()
    local function truncated(q) return reply(q, { flags = 0x8380 }) end
    assert.is_nil((ask(truncated, "A", silent, { timeout = 0.05 })))
    assert.is_nil((ask(truncated, "A", function() return "garbage" end, { timeout = 0.05 })))
  end)

  it("that answers late harms nobody", function()
    local gate = green.Event()
    local liar <close> = nameserver.lie(function(q)
      gate:wait()
      return reply(q, { answers = { a(60, 1, 2, 3, 4) } })
    end)
    local resolver <close> = dns.Resolver { servers = { liar.address }, timeout = 60 }
    local held = green.spawn(resolver.resolve, resolver, "held.test")
    local late = green.spawn(resolver.resolve, resolver, "late.test")
    green.sleep(0.01)
    late:kill()
    assert.equal(1, resolver:stats().out)
    gate:set() -- the answer to both, one of which nobody wants
    assert.equal("1.2.3.4", held:get()[1].addr)
    assert.equal("1.2.3.4", resolver:resolve("late.test")[1].addr) -- kept, or asked again
  end)

  it("is forgotten when nobody wants its answers", function()
    local liar <close> = nameserver.lie(silent)
    local resolver <close> =
      dns.Resolver { servers = { liar.address }, timeout = 60, parallel = 10 }
    local all = {}
    for i = 1, 100 do
      all[i] = green.spawn(resolver.getaddrinfo, resolver, ("n%d.test"):format(i))
    end
    green.sleep(0)
    assert.same({ 10, 190 }, { resolver:stats().out, resolver:stats().waiting })
    green.killall(all)
    assert.same({ 0, 0 }, { resolver:stats().out, resolver:stats().waiting })
  end)

  it("that stalls some does not hold up others for long", function()
    local liar <close> = nameserver.lie(function(q)
      if not q.name:find "stall" then return reply(q, { answers = { a(60, 1, 2, 3, 4) } }) end
    end)
    local resolver <close> = dns.Resolver { servers = { liar.address }, timeout = 60, parallel = 4 }
    local one = green.spawn(resolver.resolve, resolver, "stall.test")
    for i = 1, 50 do -- many are given up, and stay out as far as c-ares goes
      resolver:resolve(("stall%d.test"):format(i), "A", { timeout = 0.0005 })
    end
    assert.equal("1.2.3.4", resolver:resolve("good.test")[1].addr)
    one:kill()
  end)

  it("gets one question from many who ask the same", function()
    local liar <close> = nameserver.lie(function(q)
      green.sleep(0.005)
      return reply(q, { answers = { a(0, 1, 2, 3, 4) } })
    end)
    local resolver <close> = dns.Resolver { servers = { liar.address }, timeout = 60 }
    local all = {}
    for i = 1, 50 do
      all[i] = green.spawn(resolver.resolve, resolver, i % 2 == 0 and "same.test" or "SAME.test.")
    end
    green.sleep(0)
    all[1]:kill()
    for i = 2, 50 do assert.equal("1.2.3.4", all[i]:get()[1].addr) end
    assert.equal(1, liar.queries)
  end)
end)

describe("the cache", function()
  local open = {}
  local function counting(reply_to, parallel)
    local liar = nameserver.lie(reply_to)
    local resolver = dns.Resolver { servers = { liar.address }, timeout = 30,
      parallel = parallel }
    open = { resolver, liar }
    return liar, resolver
  end
  local function finish(body)
    return function()
      local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
        for _, object in ipairs(open) do object:close() end
      end })
      body()
    end
  end

  it("keeps an answer for its TTL", finish(function()
    local ttl = 60
    local liar, resolver = counting(function(q)
      return reply(q, { answers = { a(ttl, 1, 2, 3, 4) } })
    end)
    for _ = 1, 3 do assert.equal(60, resolver:resolve("kept.test")[1].ttl) end
    assert.equal(1, liar.queries)
    assert.same({ 1, 2 }, { resolver:stats().cached, resolver:stats().hits })
    resolver:clear_cache()
    resolver:resolve "kept.test"
    assert.equal(2, liar.queries)
    ttl = 0
    for _ = 1, 3 do resolver:resolve "fleeting.test" end
    assert.equal(5, liar.queries)
  end))

  it("forgets it afterwards", finish(function()
    local liar, resolver = counting(function(q)
      return reply(q, { answers = { a(1, 1, 2, 3, 4) } })
    end)
    resolver:resolve "short.test"
    green.sleep(1.01)
    resolver:resolve "short.test"
    assert.equal(2, liar.queries)
  end))

  it("keeps a failure for as long as the SOA says", finish(function()
    local soa = record(6, 60, nameserver.name "ns.test" .. nameserver.name "root.test"
      .. string.pack(">I4I4I4I4I4", 1, 2, 3, 4, 60), "test")
    local liar, resolver = counting(function(q)
      return reply(q, { rcode = q.name:find "^nx" and 3 or 0,
        authority = q.name:find "soa" and { soa } or {} })
    end)
    for _ = 1, 3 do
      assert.equal("NXDOMAIN", select(3, resolver:resolve "nx.soa.test"))
      assert.equal("NODATA", select(3, resolver:resolve "no.soa.test"))
    end
    assert.equal(2, liar.queries)
    for _ = 1, 3 do resolver:resolve "nx.test" end
    assert.equal(5, liar.queries)
  end))

  it("keeps no other failures", finish(function()
    local liar, resolver = counting(function(q)
      return reply(q, { rcode = 5 })
    end)
    for _ = 1, 2 do assert.equal("REFUSED", select(3, resolver:resolve "x.test")) end
    assert.equal(0, resolver:stats().cached)
    assert.is_true(liar.queries >= 2)
  end))

  it("is bounded", finish(function()
    local big = ("x"):rep(255)
    local text = {}
    for i = 1, 4 do text[i] = record(16, 600, string.pack("s1", big)) end
    local liar, resolver = counting(function(q)
      return reply(q, { answers = text })
    end, 32) -- more of such answers at once than the kernel keeps would be lost
    local all, n = {}, 4200
    for i = 1, n do
      all[i] = green.spawn(function() assert(resolver:resolve(("n%d.test"):format(i), "TXT")) end)
    end
    green.joinall(all, nil, true)
    local cached = resolver:stats().cached
    assert.is_true(cached > 1000 and cached < n, cached)
    local before = liar.queries
    resolver:resolve(("n%d.test"):format(n), "TXT") -- the last one is there
    assert.equal(before, liar.queries)
  end))
end)

describe("a lookup", function()
  local liar, resolver
  setup(function()
    liar = nameserver.lie(silent)
    resolver = dns.Resolver { servers = { liar.address }, timeout = 30 }
  end)
  teardown(function()
    resolver:close()
    liar:close()
  end)

  local n = 0
  local function fresh()
    n = n + 1
    return ("n%d.test"):format(n)
  end
  local function expired(list, message, code)
    assert.same({ nil, "timeout", "TIMEOUT" }, { list, message, code })
  end

  describe("by getaddrinfo", function()
    waitable {
      new = fresh, expired = expired,
      wait = function(name, timeout)
        return resolver:getaddrinfo(name, 80, { timeout = timeout })
      end,
    }
  end)

  describe("by resolve", function()
    waitable {
      new = fresh, expired = expired,
      wait = function(name, timeout)
        return resolver:resolve(name, "TXT", { timeout = timeout })
      end,
    }
  end)

  it("ends with its resolver", function()
    local own = dns.Resolver { servers = { liar.address }, timeout = 30, parallel = 1 }
    local g = {
      green.spawn(own.getaddrinfo, own, "a.test"), green.spawn(own.resolve, own, "b.test"),
    }
    green.sleep(0)
    own:close()
    assert.same({ nil, "closed", "CANCELLED" }, { g[1]:get() })
    assert.same({ nil, "the resolver was closed", "CANCELLED" }, { g[2]:get() })
  end)
end)
