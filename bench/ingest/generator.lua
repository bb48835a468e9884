-- Sends the beacons of a file over and over, each time with event ids that were never sent before.
--
-- Arguments: file, seed, milliseconds between two requests of one connection (mean, exponential; 0: none).
-- The file: requests end with byte 0, and byte 1 stands where an event id goes. With a mean the connections of a
-- thousand independent browsers come near to an open loop: nobody waits for anybody else's answer.

local requests, at, sent = {}, 0, 0
local head = ""

function init(arguments)
  local file = assert(io.open(arguments[1], "rb"))
  for text in file:read("*a"):gmatch("[^%z]+") do
    local pieces = {}
    for piece in text:gmatch("[^\1]+") do
      pieces[#pieces + 1] = piece
    end
    requests[#requests + 1] = pieces
  end
  file:close()
  math.randomseed(tonumber(arguments[2]))
  at = math.random(#requests)
  local mean = tonumber(arguments[3])
  if mean > 0 then
    function delay()
      return math.floor(-mean * math.log(1 - math.random()) + 0.5)
    end
  end
end

local function begin_id()
  local now = os.time() * 1000
  head = string.format("%08x-%04x-7", math.floor(now / 65536), now % 65536)
end

local function make_id()
  return head .. string.format("%03x-%04x-%06x%06x",
    math.random(0, 4095), 32768 + math.random(0, 16383), math.random(0, 16777215), math.random(0, 16777215))
end

function request()
  if sent % 256 == 0 then
    begin_id()
  end
  sent = sent + 1
  at = at % #requests + 1
  local pieces = requests[at]
  local text = {}
  for number = 1, #pieces - 1 do
    text[2 * number - 1] = pieces[number]
    text[2 * number] = make_id()
  end
  text[2 * #pieces - 1] = pieces[#pieces]
  return table.concat(text)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests": %d, "duration_us": %d, "p50_us": %d, "p90_us": %d, "p99_us": %d, "most_us": %d, '
      .. '"refused": %d, "broken": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
    latency.max, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
