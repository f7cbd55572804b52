/** The texts of `--help`. */
import type { CommandName } from './arguments';

const OVERVIEW = `Utsushi trains difference LoRAs for Stable Diffusion on your own GPU.

  utsushi serve [--port N] [--open]        the app and the helper on http://127.0.0.1:5757
  utsushi pair [--list|--revoke|--allow …] which pages may use the helper
  utsushi train RECIPE.json… --out DIR     two pictures in, a LoRA out
  utsushi sample --out F.png …             one picture from a model and LoRAs
  utsushi plot PLOT.json --out GRID.png    a labelled grid over strengths, seeds, LoRAs, prompts …
  utsushi merge OUT A:0.6 B:0.6 …          several LoRAs into one
  utsushi resize FILE --dim N --out F      a LoRA of smaller dimension
  utsushi extract TUNED BASE --dim N …     a LoRA out of two checkpoints
  utsushi recipe check|import|export|link FILE   recipes, TrainTrain presets, links
  utsushi models [add|remove|suggest]      checkpoints and LoRAs by name
  utsushi inspect FILE                     what a .safetensors file holds
  utsushi bench                            how fast this GPU is

  utsushi COMMAND --help                   more about one of them
  utsushi --version

Exit codes: 0 done, 1 something failed, 2 wrong use or bad input.`;

const TOPICS: Record<CommandName, string> = {
	serve: `utsushi serve [--port N] [--open]

Serves the app on http://127.0.0.1, to this computer only, and trains for pages that were paired with it: prints the address, a pairing code and the GPU.
Runs go on when a page is closed or loses the connection; the page takes them up again when it comes back.

  --port N   exactly this port, 0 for any free one (default: 5757, or a free one when that is taken)
  --open     open the address in the browser; that page is paired at once`,
	pair: `utsushi pair [--json]
utsushi pair --list | --revoke ID | --allow ADDRESS | --disallow ADDRESS

Shows a new pairing code, to be entered on a page that wants to use the helper. It works once, for ten minutes. The helper may be running meanwhile.

  --list           which pages are paired, and which addresses may ask besides the helper's own
  --revoke ID      takes a pairing back (all: every one); a page that is connected is cut off within half a minute
  --allow ADDR     pages at this address may ask to be paired, e.g. https://example.org
  --disallow ADDR  takes that back, and every pairing of that address
  --json           the code or the list as JSON`,
	train: `utsushi train RECIPE.json… --out DIR [--model NAME] [--vae F] [--sweep FIELD=VALUES]… [--gpu-memory GB] [--csv] [--json]
utsushi train --resume DIR [--json]
utsushi train RECIPE.json --resume LORA.safetensors --out DIR

Trains both passes and writes the LoRA, previews and the strip of strengths into DIR. Nothing that is already there is overwritten.
In the recipe, "path" of the model and of the pictures (PNG) is relative to the recipe's folder; { "bundled": "mini" } is the model
that comes with Utsushi, and a model with a name only is looked for in your folders (utsushi models). Fields left out have the defaults of the model's family.
Several recipes are trained one after the other; one that fails is reported, and the next starts.
Ctrl-C stops and saves what was learned; a second Ctrl-C leaves at once. Either way, and after a crash or a power cut, --resume goes on
from the last snapshot, and the result is the same as without the interruption.

  --out DIR     folder for the results, made when missing
  --model NAME  another model than the recipe's: a path, or a name of “utsushi models”
  --vae F       a file with another VAE than the model's own
  --sweep F=V   trains once per value: --sweep lr=5e-5,1e-4; may be given several times. F is a field of the recipe, or lr, dim, alpha,
                steps, batch: those of the pass that makes the result
  --resume DIR  goes on with what was interrupted in DIR (or with the one whose snapshot or LoRA in DIR is named)
  --resume L    with a recipe: trains on from this LoRA instead of a fresh one
  --gpu-memory GB  of the GPU that may be taken; without it the smallest usual card is assumed on which the run fits (8, 12, 16 or 24 GB)
  --csv         also writes NAME.csv (and NAME_copy.csv): step, loss and rate of every step in TrainTrain's format
  --json        one JSON event a line; pictures and files are written to DIR and named in the event`,
	sample: `utsushi sample --out F.png [--model F] [--lora F:STRENGTH]… [--prompt TEXT] …

  --out F.png          the picture to write (an existing file is replaced)
  --model F            checkpoint (.safetensors) or its name; default: the bundled model
  --vae F              a file with another VAE than the model's own
  --prediction v       the model predicts velocity (v-prediction) though its file does not say so; a LoRA trained for that says it itself
  --lora F:STRENGTH    a LoRA (or its name) and its strength (-10 to 10, default 1); may be given several times
  --prompt TEXT        default empty
  --negative TEXT      default empty
  --seed N             default 0
  --steps N            default 30
  --sampler NAME       ddim (default), euler_a or dpmpp_2m (with Karras sigmas)
  --cfg N              guidance, default 5; 1 switches it off
  --size WxH           multiples of 8; default: the size the model was made for
  --json               one JSON event a line`,
	plot: `utsushi plot PLOT.json --out GRID.png [--cells DIR] [--json]

Draws every cell of the plot and one picture of all, with WebUI-readable text in it. Cells are kept; the same command later, or with
longer axes, draws only what is missing. Ctrl-C stops after the current step; nothing drawn is lost.
PLOT.json: { "model": { "path": …, "vae": { "path": … }, "prediction": "v" } or nothing for the bundled one, "loras": [{ "name", "path", "strength", "ratio", "blocks" }],
"base": { "prompt", "negative", "seed", "steps", "cfg", "sampler", "width", "height", "dimension" }, "x", "y", "z": { "kind", "values" } }.
Kinds: strength, seed (-1: drawn once), lora ("a+b", "none"), blocks, prompt (search, replacements …), steps, cfg, sampler, ratio, dimension.
Values are a list or text such as "-1-2 [7]", "1-10 (+2)", "0.5, 1". With "region": { "left", "top", "right", "bottom" } (0 to 1) the
command also says at which strengths the region changes and the rest does not.

  --out F.png  the picture of the grid (an existing file is replaced)
  --cells DIR  where cells are kept (default: beside the picture, GRID-cells)
  --json       one JSON event a line, and the metrics of every cell at the end`,
	merge: `utsushi merge OUT.safetensors A.safetensors:RATIO[:BLOCKS] B.safetensors:RATIO[:BLOCKS] … [--dim …] [--method …]
utsushi merge --into CHECKPOINT.safetensors --out FILE.safetensors A.safetensors:RATIO …

Adds the changes of LoRAs, each times its ratio, as a prompt with all of them would. Any naming, ranks and alphas; negative ratios subtract.
BLOCKS is a preset (ALL, INS, IND, INALL, MIDD, OUTD, OUTS, OUTALL, NONE, ALL0.5) or 12, 17, 20 or 26 numbers as SuperMerger has them;
blocks that a list does not name count 0. Nothing that is already there is overwritten: the result then gets a number.

  --dim D         8: this dimension; auto (default): the largest of the parts; energy=0.99: as many as keep 99 % of the change
  --conv-dim D    the same for 3×3 convolutions (default: as --dim)
  --method M      svd (default): the best approximation; concat: exact, dimensions add up; average: mean of the factors, of LoRAs of one origin
  --dtype T       f16 (default), bf16 or f32
  --clamp         clip the largest values as kohya and SuperMerger do (not exact)
  --into F        write a copy of this checkpoint with the LoRAs in it; streamed, so size does not matter
  --json          what was done as one line of JSON`,
	resize: `utsushi resize FILE.safetensors --out OUT.safetensors --dim N [--conv-dim N] [--sv-ratio P | --sv-fro P | --sv-cumulative P]

Keeps the largest singular values of every module, by kohya's rules. Nothing that is already there is overwritten.

  --dim N             dimension; with one of the following: the most a module may have
  --conv-dim N        the same for convolutions (default: as --dim)
  --sv-ratio P        those above the largest divided by P
  --sv-fro P          as many as keep the share P (0 to 1) of the Frobenius norm
  --sv-cumulative P   as many as keep the share P (0 to 1) of their sum
  --dtype T           f16 (default), bf16 or f32
  --json              what was done as one line of JSON`,
	extract: `utsushi extract TUNED.safetensors BASE.safetensors --dim N --out OUT.safetensors [--conv-dim N]

Makes a LoRA of what differs between two checkpoints of one architecture. Both are read tensor by tensor. Text encoders take part when a
weight of theirs differs by more than 0.01. For SDXL this takes several minutes of CPU time.

  --dim N        dimension
  --conv-dim N   also of convolutions, with this dimension (default 0: none)
  --dtype T      f16 (default), bf16 or f32
  --json         what was done as one line of JSON`,
	recipe: `utsushi recipe check FILE [--json]
utsushi recipe import PRESET.json [--family sd15|sdxl] [--out RECIPE.json]
utsushi recipe export RECIPE.json [--out PRESET.json]
utsushi recipe link FILE

check   reads a recipe and every file it names, or a preset of TrainTrain, and says what is wrong or surprising
import  a preset or run file of TrainTrain as a recipe; settings without a counterpart are named and kept
export  a recipe as a preset of TrainTrain; an imported one comes back as it was
link    the address that opens the recipe in the app of “utsushi serve”; paths are left out

  --family F  which models a preset is for (default: guessed from its names)
  --out F     write a file instead of printing; an existing one is not replaced
  --json      the findings of check as JSON`,
	models: `utsushi models [--json]
utsushi models suggest
utsushi models add DIR… [--results]
utsushi models remove DIR…

Lists the checkpoints and LoRAs (.safetensors) in your folders, with family and size. Wherever a command wants a model or a LoRA, its name
(or a part of it that only one file has) does instead of a path; a browser that is connected to “utsushi serve” sees these names, never paths.
Links are followed only where they lead into one of the folders.

  suggest    looks for the folders of WebUI, Forge, ComfyUI, StabilityMatrix, SwarmUI and Fooocus
  add DIR    lists what lies in DIR and below it from now on
  --results  with add: LoRAs that a browser has trained here are saved in DIR too; nothing is overwritten
  remove DIR forgets DIR; its files stay as they are
  --json     as JSON`,
	inspect: `utsushi inspect FILE [--json]

Says what a .safetensors file is (checkpoint, LoRA, other), for which architecture, its ranks, blocks and metadata.

  --json     the report as JSON`,
	bench: `utsushi bench [--tune] [--json] [--f32]

Measures this GPU with the bundled model: matrix products and convolutions, a training step split by kernel family, the time to
record a step, planning and compiling, planned and allocated memory. Takes a minute or so.

  --tune     instead, measure for about ten seconds which way of cutting matrix products suits this GPU, and use it from now on
  --json     the numbers as JSON
  --f32      store weights and activations as 32-bit floats instead of halves`
};

export function helpText(topic?: CommandName): string {
	return topic === undefined ? OVERVIEW : TOPICS[topic];
}
