std = "lua54"
max_line_length = 100
-- A comparison that NaN fails is meant so; a method need not use its self.
ignore = { "581", "212/self" }
exclude_files = { "build", "spec/bench/build" }

files["spec"] = { std = "+busted" }
-- Called by the host program, and what that offers.
files["examples/embed_game.lua"] = { globals = { "populate", "alarm", "report" },
  read_globals = { "move" } }
files["examples/embed_server.lua"] = { globals = { "handle" } }
-- The peers' programs are short and each lives in its own world.
files["spec/bench"] = { globals = { "box" }, ignore = { "211", "212", "631" } }
files["spec/bench/tools/pipeline.lua"] = { globals = { "init", "request" },
  read_globals = { "wrk" } }
