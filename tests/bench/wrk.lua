-- Requests for wrk, for all systems.  After "--" on wrk's command line:
--
--   API      plain (metcd, raftexample, ceiling), v2 or v3 (etcd)
--   OP       put, get (linearizable), stale, mixN (N % get, else put)
--   KEYS     how many; a key is "k" and 7 digits, each is there already
--   BYTES    of a value
--   SEED     of the choice of keys
--
-- At the end one line of JSON on standard output, behind "RESULT ".

local b64digits =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
	local out = {}
	for i = 1, #text, 3 do
		local a, b, c = text:byte(i, i + 2)
		local n = a * 65536 + (b or 0) * 256 + (c or 0)
		for shift = 18, 0, -6 do
			local digit = math.floor(n / 2 ^ shift) % 64 + 1
			out[#out + 1] = b64digits:sub(digit, digit)
		end
		if not c then out[#out] = "=" end
		if not b then out[#out - 1] = "=" end
	end
	return table.concat(out)
end

-- Letters by chance: a storage engine that compresses finds little.
local function random_text(bytes)
	local out = {}
	for i = 1, bytes do
		local digit = math.random(62)
		out[i] = b64digits:sub(digit, digit)
	end
	return table.concat(out)
end

local VALUES = 16

-- Of keys; made when first used.
local base64_of = setmetatable({}, {__index = function(known, key)
	known[key] = base64(key)
	return known[key]
end})

-- Everything of a request but its key, put together once: make[i](key).
local function puts(api, bytes)
	local make = {}
	for i = 1, VALUES do
		local value = random_text(bytes)
		if api == "plain" then
			local tail = " HTTP/1.1\r\nHost: bench\r\nContent-Length: " ..
				#value .. "\r\n\r\n" .. value
			make[i] = function(key) return "PUT /" .. key .. tail end
		elseif api == "v2" then
			local tail = " HTTP/1.1\r\nHost: bench\r\nContent-Type: " ..
				"application/x-www-form-urlencoded\r\n" ..
				"Content-Length: " .. #value + 6 ..
				"\r\n\r\nvalue=" .. value
			make[i] = function(key)
				return "PUT /v2/keys/" .. key .. tail
			end
		else
			local tail = '","value":"' .. base64(value) .. '"}'
			local bytes_all = 8 + 12 + #tail -- {"key":" and 12 digits
			local head = "POST /v3/kv/put HTTP/1.1\r\nHost: bench\r\n" ..
				"Content-Type: application/json\r\n" ..
				"Content-Length: " .. bytes_all .. "\r\n\r\n" ..
				'{"key":"'
			make[i] = function(key)
				return head .. base64_of[key] .. tail
			end
		end
	end
	return make
end

local function gets(api, stale)
	if api == "plain" then
		local tail = (stale and "?consistency=stale" or "") ..
			" HTTP/1.1\r\nHost: bench\r\n\r\n"
		return function(key) return "GET /" .. key .. tail end
	elseif api == "v2" then
		local tail = (stale and "" or "?quorum=true") ..
			" HTTP/1.1\r\nHost: bench\r\n\r\n"
		return function(key) return "GET /v2/keys/" .. key .. tail end
	end
	local tail = stale and '","serializable":true}' or '"}'
	local head = "POST /v3/kv/range HTTP/1.1\r\nHost: bench\r\n" ..
		"Content-Type: application/json\r\nContent-Length: " ..
		8 + 12 + #tail .. '\r\n\r\n{"key":"'
	return function(key) return head .. base64_of[key] .. tail end
end

local make_put, make_get, keys, get_percent
local count = 0

function init(args)
	local api, op, bytes = args[1], args[2], tonumber(args[4])
	keys = tonumber(args[3])
	get_percent = tonumber(op:match("^mix(%d+)$") or
		(op == "put" and 0 or 100))
	math.randomseed(tonumber(args[5]))
	make_put = puts(api, bytes)
	make_get = gets(api, op == "stale")
end

function request()
	count = count + 1
	local key = string.format("k%07d", math.random(0, keys - 1))
	if math.random(100) > get_percent then
		return make_put[count % VALUES + 1](key)
	end
	return make_get(key)
end

function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format('RESULT {"requests":%d,"us":%d,"p50_us":%d,' ..
		'"p99_us":%d,"max_us":%d,"connect":%d,"read":%d,"write":%d,' ..
		'"timeout":%d,"status":%d}\n', summary.requests,
		summary.duration, latency:percentile(50),
		latency:percentile(99), latency.max, e.connect, e.read,
		e.write, e.timeout, e.status))
end
