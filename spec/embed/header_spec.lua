local support = require "spec.support"

describe("greenlua.h", function()
  -- What a compiler says of a file that includes nothing else.
  local function compile(compiler, code)
    local command = ("printf '%%s\\n' '%s' | %s -Ihost $(pkg-config --cflags lua5.4) " ..
      "-Wall -Wextra -Wpedantic -Werror -fsyntax-only - 2>&1"):format(code, compiler)
    local pipe = assert(io.popen(command))
    local output = pipe:read "a"
    return pipe:close(), output
  end

  local program = [[
#include <greenlua.h>
int main(void) {
  green_config c = green_defaults();
  int code;
  green_hub *hub = green_open(&c, &code);
  green_free(hub);
  return code;
}]]

  for name, compiler in pairs { C99 = "cc -std=c99 -x c", C11 = "cc -std=c11 -x c",
    ["C++11"] = "c++ -std=c++11 -x c++", ["C++20"] = "c++ -std=c++20 -x c++" } do
    it("is clean " .. name .. ", and needs lua.h alone", function()
      local ok, output = compile(compiler, program)
      assert.equal("", output)
      assert.is_true(ok)
    end)
  end

  it("declares what the library has, and no more", function()
    local file <close> = assert(io.open "host/greenlua.h")
    local declared, defined = {}, {}
    local text = file:read "a":gsub("/%*.-%*/", "")
    for name in text:gmatch "GREEN_API [^;(]-%f[%w_](green_[%w_]+)%(" do
      declared[#declared + 1] = name
    end
    local symbols <close> = assert(io.popen("nm -g --defined-only " ..
      support.built "libgreenlua.a" .. " 2>/dev/null"))
    for line in symbols:lines() do
      local name = line:match " T (green_[%w_]+)$"
      if name then defined[#defined + 1] = name end
    end
    table.sort(declared)
    table.sort(defined)
    assert.same(declared, defined)
    assert.is_true(#declared > 30)
  end)
end)
