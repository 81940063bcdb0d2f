-- Sends prepared requests in turn for some seconds, lets each connection get its last answer, and ends wrk.
-- Arguments: folder of the requests (files 1, 2, ...), their number, seconds, connections.

local ffi = require("ffi")
ffi.cdef [[
typedef struct { long seconds; long nanoseconds; } moment_t;
int clock_gettime(int clock, moment_t *moment);
int getpid(void);
int kill(int process, int signal);
]]

local CLOCK_MONOTONIC, SIGINT, FOR_EVER_MS = 1, 2, 3600 * 1000

local moment = ffi.new("moment_t")
local requests = {}
local sent, finished = 0, 0
local thread_of_load

local function now()
   ffi.C.clock_gettime(CLOCK_MONOTONIC, moment)
   return tonumber(moment.seconds) + tonumber(moment.nanoseconds) / 1e9
end

function setup(thread)
   thread_of_load = thread
end

function init(arguments)
   for number = 1, tonumber(arguments[2]) do
      local file = assert(io.open(arguments[1] .. "/" .. number, "rb"))
      requests[number] = file:read("*a")
      file:close()
   end
   seconds = tonumber(arguments[3])
   connections = tonumber(arguments[4])
end

function request()
   sent = sent + 1
   return requests[sent % #requests + 1]
end

-- wrk asks before each request of a connection, so here a connection is known to have its answer.
function delay()
   local time = now()
   started = started or time
   if time - started < seconds then
      return 0
   end
   finished = finished + 1
   if finished == connections then
      elapsed = time - started
      ffi.C.kill(ffi.C.getpid(), SIGINT)
   end
   return FOR_EVER_MS
end

function done(summary, latency)
   local latencies = {}
   for permille = 1, 999 do
      latencies[permille] = string.format("%.6f", latency:percentile(permille / 10) / 1e6)
   end
   local errors = 0
   for _, count in pairs(summary.errors) do
      errors = errors + count
   end
   io.write(string.format(
      'result {"requests": %d, "seconds": %f, "errors": %d, "latencies": [%s]}\n',
      summary.requests, thread_of_load:get("elapsed") or 0, errors, table.concat(latencies, ",")))
end
