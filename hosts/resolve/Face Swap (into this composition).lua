-- Comp menu of the Fusion page: pastes the face of the clip's newest swap into the composition that is open, after the
-- selected tool. Works in both editions, as it only reads a file that lies beside the result.
--
-- The clip's marker says where the result lies; the file was written when the swap was done.

local M = { open = io.open, say = print, merge = "FaceSwapMerge", patch = "FaceSwapPatch" }

local function must(value, sentence)
    if value == nil or value == false or value == "" then
        error({ sentence = sentence }, 0)
    end
    return value
end

-- The file beside the frames that a marker of ours names; nil for other markers.
function M.setting_of(data)
    local output = (data or ""):match('^dfl:.-"output":"(.-[^\\])"')
    if not output then
        return nil
    end
    local folder, name = output:gsub("\\(.)", "%1"):match("^(.*[/\\])([^/\\]*)$")
    return folder and folder .. name:match("^[^.]*") .. ".setting"
end

function M.find_setting(resolve)
    local project = must(resolve:GetProjectManager():GetCurrentProject(), "Open a project first.")
    local timeline = must(project:GetCurrentTimeline(), "Open a timeline first.")
    local item = must(timeline:GetCurrentVideoItem(), "The playhead stands on no clip.")
    for _, marker in pairs(item:GetMarkers() or {}) do
        local path = M.setting_of(marker.customData)
        if path then
            return path
        end
    end
    error({ sentence = "This clip has no result yet: swap it first, from Workspace, Scripts, Face Swap." }, 0)
end

function M.run(comp, resolve, bmd)
    must(comp, "Open a composition in the Fusion page first.")
    local path = M.find_setting(resolve)
    local file = must(M.open(path, "r"), path .. " is not there: swap the clip again.")
    file:close()
    local before = comp.ActiveTool
    local old = comp:FindTool(M.patch)
    local tools = must(bmd.readfile(path), path .. " cannot be read: swap the clip again.")
    comp:StartUndo("Face Swap")
    comp:Paste(tools)
    -- names that are taken get a number: what is new is what is selected now
    local merge = comp.ActiveTool
    local is_new = merge and merge ~= before and merge.Name:sub(1, #M.merge) == M.merge
    if is_new and before then
        merge:ConnectInput("Background", before)
    end
    comp:EndUndo(true)
    if not is_new and (old or not comp:FindTool(M.patch)) then
        error({ sentence = "Nothing was pasted. Drag this file into the node view instead: " .. path }, 0)
    end
    return before and ("The face lies over " .. before.Name .. ".")
        or "Connect the clip to the background of FaceSwapMerge."
end

function M.main(comp, resolve, bmd)
    local ok, answer = pcall(M.run, comp, resolve, bmd)
    if not ok then
        answer = type(answer) == "table" and answer.sentence or ("Face Swap met an error of its own: " .. tostring(answer))
    end
    M.say("Face Swap: " .. answer)
    return ok
end

if DFL_TESTING then
    return M
end
M.main(comp, resolve or Resolve(), bmd)
