/** The texts of `--help`. */
import type { CommandName } from './arguments';

const OVERVIEW = `Utsushi trains difference LoRAs for Stable Diffusion on your own GPU.

  utsushi serve [--port N] [--open]        the app on http://127.0.0.1:5757
  utsushi train RECIPE.json… --out DIR     two pictures in, a LoRA out
  utsushi sample --out F.png …             one picture from a model and LoRAs
  utsushi plot PLOT.json --out GRID.png    a labelled grid over strengths, seeds, LoRAs, prompts …
  utsushi inspect FILE                     what a .safetensors file holds
  utsushi bench                            how fast this GPU is

  utsushi COMMAND --help                   more about one of them
  utsushi --version

Exit codes: 0 done, 1 something failed, 2 wrong use or bad input.`;

const TOPICS: Record<CommandName, string> = {
	serve: `utsushi serve [--port N] [--open]

Serves the app on http://127.0.0.1, to this computer only, and prints the address.

  --port N   exactly this port, 0 for any free one (default: 5757, or a free one when that is taken)
  --open     open the address in the browser`,
	train: `utsushi train RECIPE.json… --out DIR [--sweep FIELD=VALUES]… [--json]
utsushi train --resume DIR [--json]

Trains both passes and writes the LoRA, previews and the strip of strengths into DIR. Nothing that is already there is overwritten.
In the recipe, "path" of the model and of the pictures (PNG) is relative to the recipe's folder; { "bundled": "mini" } is the model
that comes with Utsushi. Fields left out have the defaults of the model's family.
Several recipes are trained one after the other; one that fails is reported, and the next starts.
Ctrl-C stops and saves what was learned; a second Ctrl-C leaves at once. Either way, and after a crash or a power cut, --resume goes on
from the last snapshot, and the result is the same as without the interruption.

  --out DIR     folder for the results, made when missing
  --sweep F=V   trains once per value: --sweep passes.difference.learningRate=5e-5,1e-4; may be given several times
  --resume DIR  goes on with what was interrupted in DIR
  --json        one JSON event a line; pictures and files are written to DIR and named in the event`,
	sample: `utsushi sample --out F.png [--model F] [--lora F:STRENGTH]… [--prompt TEXT] …

  --out F.png          the picture to write (an existing file is replaced)
  --model F            checkpoint (.safetensors); default: the bundled model
  --lora F:STRENGTH    a LoRA and its strength (-10 to 10, default 1); may be given several times
  --prompt TEXT        default empty
  --negative TEXT      default empty
  --seed N             default 0
  --steps N            default 30
  --sampler NAME       ddim (default), euler_a or dpmpp_2m (with Karras sigmas)
  --cfg N              guidance, default 5; 1 switches it off
  --size WxH           multiples of 8; default: the size the model was made for`,
	plot: `utsushi plot PLOT.json --out GRID.png [--cells DIR] [--json]

Draws every cell of the plot and one picture of all, with WebUI-readable text in it. Cells are kept; the same command later, or with
longer axes, draws only what is missing. Ctrl-C stops after the current step; nothing drawn is lost.
PLOT.json: { "model": { "path": … } or nothing for the bundled one, "loras": [{ "name", "path", "strength", "ratio", "blocks" }],
"base": { "prompt", "negative", "seed", "steps", "cfg", "sampler", "width", "height", "dimension" }, "x", "y", "z": { "kind", "values" } }.
Kinds: strength, seed (-1: drawn once), lora ("a+b", "none"), blocks, prompt (search, replacements …), steps, cfg, sampler, ratio, dimension.
Values are a list or text such as "-1-2 [7]", "1-10 (+2)", "0.5, 1". With "region": { "left", "top", "right", "bottom" } (0 to 1) the
command also says at which strengths the region changes and the rest does not.

  --out F.png  the picture of the grid (an existing file is replaced)
  --cells DIR  where cells are kept (default: beside the picture, GRID-cells)
  --json       one JSON event a line, and the metrics of every cell at the end`,
	inspect: `utsushi inspect FILE [--json]

Says what a .safetensors file is (checkpoint, LoRA, other), for which architecture, its ranks, blocks and metadata.

  --json     the report as JSON`,
	bench: `utsushi bench [--json] [--f32]

Measures this GPU with the bundled model: matrix products and convolutions, a training step split by kernel family, the time to
record a step, planning and compiling, planned and allocated memory. Takes a minute or so.

  --json     the numbers as JSON
  --f32      store weights and activations as 32-bit floats instead of halves`
};

export function helpText(topic?: CommandName): string {
	return topic === undefined ? OVERVIEW : TOPICS[topic];
}
