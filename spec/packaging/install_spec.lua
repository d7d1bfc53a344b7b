-- What `cmake --install` and cpack make of a build, and how others use it.

local support = require "spec.support"

-- A sanitizer's runtime would have to be linked into the programs of others.
local sanitized = support.preset == "asan" or support.preset == "tsan"
local build = support.greenlua:match "^(.*)/[^/]*$"
local root = assert(io.popen "pwd"):read "l"
if not build:find "^/" then build = root .. "/" .. build end

-- The words are the shell's; nothing on stderr and status 0, or an error.
local function sh(command, ...)
  local code, out, err = support.run { program = "sh", "-ec", command:format(...) }
  assert.equal(0, code, command:format(...) .. "\n" .. out .. err)
  return out, err
end

if not sanitized then
  describe("the installed greenlua", function()
    local dir, prefix

    setup(function()
      dir = sh "mktemp -d":gsub("\n", "")
      prefix = dir .. "/prefix"
      sh("cmake --install '%s' --prefix '%s' >/dev/null", build, prefix)
    end)

    teardown(function() sh("rm -rf '%s'", dir) end)

    local function with_pkg_config(words)
      sh([[cd spec/packaging
        export PKG_CONFIG_PATH='%s/lib/pkgconfig'
        lib=$(pkg-config --variable=libdir greenlua)
        gcc -std=c11 -Wall -Wextra -pedantic -Werror host.c -o %s/host ]] .. words,
        prefix, dir)
      return sh("LD_LIBRARY_PATH='%s/lib' %s/host", prefix, dir)
    end

    it("is found by pkg-config, as a shared library", function()
      local out = with_pkg_config "$(pkg-config --cflags --libs greenlua)"
      assert.equal("hello\ttrue\n", out)
      assert.matches("libgreenlua%.so%.0 => " .. prefix:gsub("%p", "%%%0"),
        (sh("LD_LIBRARY_PATH='%s/lib' ldd %s/host", prefix, dir)))
    end)

    it("is found by pkg-config, as a static library", function()
      local out = with_pkg_config [[$(pkg-config --cflags greenlua) $lib/libgreenlua.a \
        -Wl,--as-needed $(pkg-config --static --libs greenlua)]]
      assert.equal("hello\ttrue\n", out)
      assert.not_matches("libgreenlua", (sh("ldd %s/host", dir)))
    end)

    it("is found by CMake, for C and C++", function()
      sh([[cmake -S spec/packaging/found -B '%s/found' -G Ninja -DCMAKE_PREFIX_PATH='%s' >/dev/null
        ninja -C '%s/found' >/dev/null]], dir, prefix, dir)
      for _, program in ipairs { "with_shared", "with_static", "in_cxx" } do
        assert.equal("hello\ttrue\n", (sh("%s/found/%s", dir, program)))
      end
    end)

    it("shows no symbols but the public ones", function()
      local symbols = sh([[nm -D --defined-only '%s/lib/libgreenlua.so'
        nm -g --defined-only '%s/lib/libgreenlua.a']], prefix, prefix)
      local count = 0
      for kind, name in symbols:gmatch "%x+ (%a) ([^%s@]+)" do
        if kind ~= "A" then
          count = count + 1
          assert.is_truthy(name:find "^green_" or name == "luaopen_greenlua", name)
        end
      end
      assert.is_true(count > 80)
    end)

    it("has a command, and a module for lua5.4", function()
      local script = "print(require('greenlua').Queue, require('greenlua.ssl').client)"
      assert.matches("^class Queue\tfunction", (sh("%s/bin/greenlua -e \"%s\"", prefix, script)))
      assert.matches("^class Queue\tfunction",
        (sh("LUA_CPATH='%s/lib/lua/5.4/?.so' lua5.4 -e \"%s\"", prefix, script)))
    end)

    it("can be moved", function()
      sh("cp -r '%s' '%s/moved'", prefix, dir)
      local flags = sh("PKG_CONFIG_PATH='%s/moved/lib/pkgconfig' pkg-config --cflags greenlua", dir)
      assert.is_truthy(flags:find("-I" .. dir .. "/moved/", 1, true), flags)
    end)
  end)

  describe("greenlua among the sources of another project", function()
    it("is the library greenlua::greenlua, and sets nothing there", function()
      local dir = sh "mktemp -d":gsub("\n", "")
      sh([[cmake -S spec/packaging/fetched -B '%s' -G Ninja \
        -DGREENLUA_SOURCES="$PWD" >/dev/null]], dir)
      assert.matches("\nbuild host: ", (sh("cat '%s/build.ninja'", dir)))
      assert.equal("", (sh(
        "ninja -C '%s' -t targets all | grep -E 'greenlua_module|_test:|main.c' || true", dir)))
      sh("rm -rf '%s'", dir)
    end)
  end)
end

describe("the manual page", function()
  it("has no mistakes, and tells of every option and variable", function()
    local _, warnings = sh "man --warnings -l -Tutf8 doc/greenlua.1 >/dev/null"
    assert.equal("", warnings)
    local page = sh "cat doc/greenlua.1":gsub("\\%-", "-")
    local _, help = support.run { "--help" }
    for option in help:gmatch "\n  (%-%S*)" do
      assert.is_truthy(page:find(option, 1, true), option)
    end
    local variables = sh [[grep -rhoE '"GREENLUA_[A-Z_]+"' host lua bindings | sort -u]]
    for name in variables:gmatch '"(.-)"' do
      assert.is_truthy(page:find(name, 1, true), name)
    end
  end)
end)

if support.preset == "release" then
  describe("the Debian package", function()
    it("installs, and its command runs", function()
      local dir = sh "mktemp -d":gsub("\n", "")
      sh("cd '%s' && cpack -G DEB -B '%s' >/dev/null", build, dir)
      sh("dpkg-deb -x '%s'/*.deb '%s/root'", dir, dir)
      local info = sh("dpkg-deb -f '%s'/*.deb Package Version Depends", dir)
      assert.matches("Package: greenlua\n", info)
      for _, package in ipairs { "libc6", "libev4", "liblua5.4-0", "libc-ares2",
        "libssl3", "libwslay1" } do
        assert.matches(package, info, 1, true)
      end
      assert.equal("42\n", (sh("'%s/root/usr/bin/greenlua' -e 'print(42)'", dir)))
      for _, path in ipairs { "include/greenlua.h", "lib/libgreenlua.so.0", "lib/libgreenlua.a",
        "lib/pkgconfig/greenlua.pc", "lib/cmake/greenlua/greenlua-config.cmake",
        "lib/lua/5.4/greenlua.so", "share/man/man1/greenlua.1.gz", "share/doc/greenlua/copyright",
        "share/doc/greenlua/changelog.gz" } do
        sh("test -e '%s/root/usr/%s'", dir, path)
      end
      sh("rm -rf '%s'", dir)
    end)
  end)
end
