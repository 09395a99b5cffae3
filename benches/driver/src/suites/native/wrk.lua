-- What wrk sends: `wrk ... -s wrk.lua URL -- KIND`, with KIND plain, pipelined, echo, stream or close.
-- The figures are printed as one line of numbers, for wrk.rs.

local DEPTH = 16
local BODY = 1048576

function init(arguments)
    local kind = arguments[1]
    if kind == "echo" then
        wrk.method = "POST"
        wrk.path = "/echo"
        wrk.body = string.rep("x", BODY)
    elseif kind == "stream" then
        wrk.path = "/stream"
    elseif kind == "close" then
        wrk.headers["Connection"] = "close"
    end
    if kind == "pipelined" then
        -- With a function `request` instead, wrk would call it for every one.
        local whole = string.rep(wrk.format(), DEPTH)
        wrk.format = function() return whole end
    end
end

function done(summary, latency, requests)
    local errors = summary.errors
    print(string.format("figures %d %d %d %d %d", summary.requests, summary.duration, latency:percentile(99),
        errors.connect + errors.read + errors.write + errors.status + errors.timeout, summary.bytes))
end
