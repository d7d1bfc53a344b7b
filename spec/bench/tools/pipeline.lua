-- For wrk: sixteen requests at once on each connection.
local sixteen

function init()
  sixteen = wrk.format():rep(16)
end

function request()
  return sixteen
end
