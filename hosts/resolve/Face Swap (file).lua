-- Face swaps where DaVinci Resolve runs no Python: the free edition from 21.1 on.
--
-- Press it once: the clip under the playhead goes to the daemon by the program `dfl`, and a job file is left in the
-- output folder. Press it again: it says how far the job is, and when it is done, the result is imported and added as
-- a take. What to use is written in a file of the user's own, see SETTINGS below:
--
--     model = /models/anna
--     faces = /shots/sc10/faces        (faceset of the clip, made by `dfl extract`)
--     folder = /shots/sc10/swap
--     command = /usr/local/bin/dfl     (may be left out where `dfl` is in the search path)
--
-- Resolve runs this in LuaJIT (Lua 5.1). It tells by false or nil, not by an error, that it did not do something.

local IS_WINDOWS = package.config:sub(1, 1) == "\\"
local HOME = os.getenv("HOME") or os.getenv("USERPROFILE") or "."
local SETTINGS = os.getenv("DFL_RESOLVE_FREE") or (HOME .. "/dfl_resolve.txt")
local BIN = "Face Swap"

local M = { open = io.open, popen = io.popen, say = print }

local function fail(sentence)
    error({ sentence = sentence }, 0)
end

local function must(value, sentence)
    if value == nil or value == false or value == "" then
        fail(sentence)
    end
    return value
end

-- Texts

function M.parse_settings(text)
    local found = {}
    for line in (text .. "\n"):gmatch("(.-)\r?\n") do
        local name, value = line:match("^%s*([%a_]+)%s*=%s*(.-)%s*$")
        if name and value ~= "" then
            found[name] = value
        end
    end
    return found
end

function M.quote(text)
    if text:find("[%z\r\n]") then
        fail("A path holds a line break: " .. text:gsub("%c", "?"))
    end
    if not IS_WINDOWS then
        return "'" .. text:gsub("'", "'\\''") .. "'"
    end
    if text:find('["%%!^&|<>]') then
        fail("This path holds a letter that Windows' command line takes for its own: " .. text)
    end
    return '"' .. (text:gsub("\\+$", "%0%0")) .. '"'
end

function M.decode(text)
    local place = 1
    local value
    local escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
    local function skip()
        place = text:find("[^ \t\r\n]", place) or #text + 1
    end
    local function utf8(code)
        if code < 0x80 then
            return string.char(code)
        elseif code < 0x800 then
            return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
        elseif code < 0x10000 then
            return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
        end
        return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
            0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
    end
    local function word()
        local parts = {}
        place = place + 1
        while true do
            local plain = text:match('^[^"\\]+', place) or ""
            parts[#parts + 1] = plain
            place = place + #plain
            local letter = text:sub(place, place)
            if letter == '"' then
                place = place + 1
                return table.concat(parts)
            end
            local escape = text:sub(place + 1, place + 1)
            if letter == "" or escape == "" then
                fail("The answer of dfl cannot be read.")
            end
            place = place + 2
            if escape == "u" then
                local code = tonumber(text:sub(place, place + 3), 16) or 63
                place = place + 4
                local low = code >= 0xD800 and code < 0xDC00 and tonumber(text:match("^\\u(%x%x%x%x)", place) or "", 16)
                if low then
                    code = 0x10000 + (code - 0xD800) * 1024 + (low - 0xDC00)
                    place = place + 6
                end
                parts[#parts + 1] = utf8(code)
            else
                parts[#parts + 1] = escapes[escape] or escape
            end
        end
    end
    local function many(closing, one)
        local found = {}
        place = place + 1
        skip()
        while text:sub(place, place) ~= closing do
            one(found)
            skip()
            if text:sub(place, place) == "," then
                place = place + 1
                skip()
            elseif text:sub(place, place) ~= closing then
                fail("The answer of dfl cannot be read.")
            end
        end
        place = place + 1
        return found
    end
    function value()
        skip()
        local letter = text:sub(place, place)
        if letter == '"' then
            return word()
        elseif letter == "{" then
            return many("}", function(found)
                local key = word()
                skip()
                place = place + 1
                found[key] = value()
            end)
        elseif letter == "[" then
            return many("]", function(found)
                found[#found + 1] = value()
            end)
        end
        local plain = must(text:match("^[%w%.+-]+", place), "The answer of dfl cannot be read.")
        place = place + #plain
        if plain == "true" or plain == "false" then
            return plain == "true"
        end
        return plain ~= "null" and tonumber(plain) or nil
    end
    return value()
end

-- Files and the program

local function read(path)
    local file = M.open(path, "rb")
    if not file then
        return nil
    end
    local text = file:read("*a")
    file:close()
    return text
end

local function write(path, text)
    local file = M.open(path, "wb")
    if not file or not file:write(text) then
        fail(path .. " cannot be written. Is the folder there?")
    end
    file:close()
end

-- The last line of JSON of a type; an error that dfl tells ends the script.
function M.ask(command, arguments, wanted)
    local words = { M.quote(command) }
    for _, argument in ipairs(arguments) do
        words[#words + 1] = M.quote(argument)
    end
    local line = table.concat(words, " ") .. " --json"
    local pipe = M.popen(IS_WINDOWS and '"' .. line .. '"' or line .. " 2>/dev/null", "r")
    if not pipe then
        fail("This DaVinci Resolve starts no programs: render the clip as EXR, run `dfl merge`, import the result.")
    end
    local answer = pipe:read("*a") or ""
    pipe:close()
    local found
    for text in answer:gmatch("[^\r\n]+") do
        if text:sub(1, 1) == "{" then
            local one = M.decode(text)
            if one.type == "error" then
                fail(one.message or "dfl failed.")
            elseif one.type == wanted then
                found = one
            end
        end
    end
    return must(found, "The program dfl did not answer; is `command` in " .. SETTINGS .. " right?")
end

-- Resolve

function M.clip(resolve)
    local project = must(resolve:GetProjectManager():GetCurrentProject(), "Open a project first.")
    local timeline = must(project:GetCurrentTimeline(), "Open a timeline first.")
    local item = must(timeline:GetCurrentVideoItem(), "The playhead stands on no clip.")
    local media = must(item:GetMediaPoolItem(), "This clip has no file: render it as EXR, and put that into the timeline.")
    local path = must(media:GetClipProperty("File Path"), "This clip has no file of its own.")
    if path:find("_swap[/\\]v%d%d%d+[/\\]") then
        fail("This clip is a result of ours: choose its original in the take selector first.")
    end
    local first, last = item:GetSourceStartFrame(), item:GetSourceEndFrame()
    local count, offset = item:GetEnd() - item:GetStart(), item:GetLeftOffset() or 0
    if first and last and math.abs(last - first + 1 - count) > 1 then
        fail("The clip's speed is changed: render it as EXR, and put that into the timeline.")
    end
    local head, digits, tail = path:match("^(.*)%[(%d+)%-%d+%](.-)$")
    local plate, start = path, offset + 1
    if head then
        plate, start = head .. ("#"):rep(#digits) .. tail, tonumber(digits) + offset
    end
    return { project = project, item = item, name = item:GetName() or "clip", plate = plate, first = start, count = count }
end

function M.stem(name)
    local plain = name:gsub("[._]?%[%d+%-%d+%]", ""):gsub("%.%w%w%w?%w?$", ""):gsub("[^%w_-]+", "_")
    plain = plain:gsub("^[_-]+", ""):gsub("[_-]+$", "")
    return plain ~= "" and plain or "shot"
end

function M.submit(clip, settings, job_file)
    local stem = M.stem(clip.name)
    local output = settings.folder .. "/" .. stem .. "_swap/{version}/" .. stem .. "_swap.####.exr"
    local answer = M.ask(settings.command, {
        "merge", clip.plate, "--frames", clip.first .. "-" .. (clip.first + clip.count - 1),
        "--model", settings.model, "--faceset", settings.faces, "--output", output,
        "--profile", "flat", "--layers", "matte", "--detach",
    }, "submitted")
    write(job_file, "job = " .. must(answer.job and answer.job.id, "dfl gave the job no id.") .. "\n")
    return "Sent to the daemon. Press it again when it is done."
end

local function bin(pool)
    local root = must(pool:GetRootFolder(), "The media pool cannot be read.")
    for _, folder in ipairs(root:GetSubFolderList() or {}) do
        if folder:GetName() == BIN then
            return folder
        end
    end
    return must(pool:AddSubFolder(root, BIN), "The bin " .. BIN .. " cannot be made.")
end

function M.place(clip, output)
    local pool = must(clip.project:GetMediaPool(), "The media pool cannot be reached.")
    local before = pool:GetCurrentFolder()
    must(pool:SetCurrentFolder(bin(pool)), "The bin " .. BIN .. " cannot be opened.")
    local token = must(output:match("#+"), "The result is no image sequence: " .. output)
    local items
    if clip.count == 1 then
        items = pool:ImportMedia({ (output:gsub("#+", string.format("%0" .. #token .. "d", clip.first))) })
    else
        local pattern = output:gsub("#+", "%%0" .. #token .. "d")
        items = pool:ImportMedia({
            { FilePath = pattern, StartIndex = clip.first, EndIndex = clip.first + clip.count - 1 },
        })
    end
    if before then
        pool:SetCurrentFolder(before)
    end
    local media = must(items and items[1], "The result did not get into the media pool: " .. output)
    local takes = clip.item:GetTakesCount() or 0
    clip.item:AddTake(media, 0, clip.count - 1)
    local now = clip.item:GetTakesCount() or 0
    if now <= takes or not clip.item:SelectTakeByIndex(now) then
        fail("The result is in the bin " .. BIN .. ", but was not added as a take: put it onto a track above.")
    end
    return "The result is take " .. now .. " of " .. clip.name .. "."
end

function M.follow(clip, settings, job_file, job)
    local about = M.ask(settings.command, { "job", "get", job }, "job").job
    if about.state == "succeeded" then
        local output = must(about.result and about.result.output, "The job does not say where its result lies.")
        local sentence = M.place(clip, output)
        os.remove(job_file)
        return sentence
    elseif about.state == "failed" or about.state == "cancelled" then
        os.remove(job_file)
        local why = about.error and about.error.message or ""
        fail("The job " .. about.state .. ". " .. why .. " Press it again to start anew.")
    end
    return "The job is " .. about.state .. ". Press it again later."
end

function M.run(resolve)
    local text = must(read(SETTINGS), "Write model, faces and folder into " .. SETTINGS .. " first, for example: model = /models/anna")
    local settings = M.parse_settings(text)
    settings.command = settings.command or "dfl"
    for _, name in ipairs({ "model", "faces", "folder" }) do
        must(settings[name], SETTINGS .. " has no line with " .. name .. " = ...")
    end
    settings.folder = settings.folder:gsub("[/\\]+$", "")
    local clip = M.clip(resolve)
    local job_file = settings.folder .. "/" .. M.stem(clip.name) .. "_" .. clip.first .. ".dfljob"
    local job = M.parse_settings(read(job_file) or "").job
    if job then
        return M.follow(clip, settings, job_file, job)
    end
    return M.submit(clip, settings, job_file)
end

function M.main(resolve)
    local ok, answer = pcall(M.run, resolve)
    if not ok then
        answer = type(answer) == "table" and answer.sentence or ("Face Swap met an error of its own: " .. tostring(answer))
    end
    M.say("Face Swap: " .. answer)
    return ok
end

if DFL_TESTING then
    return M
end
M.main(resolve or Resolve())
