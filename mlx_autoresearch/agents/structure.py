"""A catalogue of structural edits of train_mlx.py: changes of its code that published work found useful.

An edit replaces exact pieces of the file's text, all of them or none, so it applies as long as nobody rewrote those
lines, and two edits go together where they touch different ones. What an edit writes becomes part of a person's file:
it explains itself, keeps the model causal and exportable, and keeps float32 arrays out of half-precision activations.

Notable: anchors hold no value of a knob that the search changes, and new knobs go to the end of the knobs.
"""

from __future__ import annotations

from dataclasses import dataclass

END_OF_KNOBS = "# fmt: on\n"


@dataclass(frozen=True)
class StructuralEdit:
    """One change of the program's structure.

    Attributes:
        name: a few words, for descriptions of combinations.
        description: one line for tables and commit messages.
        hypothesis: why it should help, and who found that.
        sign: text that is in a file exactly when the edit is.
        replacements: (old, new) pieces of text, applied in order; every `old` must be there exactly once.
        unless: texts that make the edit pointless, such as the value of a knob that switches off what it changes.
    """

    name: str
    description: str
    hypothesis: str
    sign: str
    replacements: tuple[tuple[str, str], ...]
    unless: tuple[str, ...] = ()

    def is_in(self, source: str) -> bool:
        """Whether the edit is part of this text already."""
        return self.sign in source

    def apply(self, source: str) -> str | None:
        """The edited text; None where the edit is in it already, is pointless, or does not find its lines."""
        if self.is_in(source) or any(text in source for text in self.unless):
            return None
        for old, new in self.replacements:
            if source.count(old) != 1:
                return None
            source = source.replace(old, new)
        return source


def _new_knob(name: str, value: str, comment: str) -> tuple[str, str]:
    """The replacement that adds a knob, aligned like the others, behind the last one."""
    return END_OF_KNOBS, f"{name:<18}= {value:<11}# {comment}\n{END_OF_KNOBS}"


GATED_MLP = StructuralEdit(
    name="gated MLP",
    description="gated MLP: the activated half multiplies a linear one, same number of parameters",
    hypothesis="A product of two projections fits more per parameter than one activation: GLU Variants Improve "
    "Transformer (Shazeer, 2020); LLaMA and most models since use it.",
    sign="self.gate_up",
    replacements=(
        (
            '    """Two matrices with an activation between them."""\n',
            '    """A gated MLP: one projection, activated, multiplies another; then down to the width again."""\n',
        ),
        (
            """\
        self.up = Linear(uniform(MLP_RATIO * WIDTH, WIDTH))
        self.down = Linear(mx.zeros((WIDTH, MLP_RATIO * WIDTH)))
""",
            """\
        hidden = 32 * max(1, round(MLP_RATIO * WIDTH / 48))  # two thirds: three matrices weigh as much as two did
        self.up = Linear(uniform(hidden, WIDTH))
        self.gate_up = Linear(uniform(hidden, WIDTH))  # its name ends like that of `up`, so Muon trains it too
        self.down = Linear(mx.zeros((WIDTH, hidden)))
""",
        ),
        (
            "        return self.down(ACTIVATIONS[ACTIVATION](self.up(x)))\n",
            "        return self.down(ACTIVATIONS[ACTIVATION](self.gate_up(x)) * self.up(x))\n",
        ),
    ),
)

SANDWICH_NORM = StructuralEdit(
    name="sandwich norm",
    description="sandwich norm: what attention and MLP add is normalised too and scaled by a learned factor",
    hypothesis="The size of a block's contribution no longer depends on its matrices, which steadies large learning "
    "rates: Gemma 2 (2024); Peri-LN (Kim et al., 2025).",
    sign="POST_NORM_GAIN",
    replacements=(
        _new_knob("POST_NORM_GAIN", "0.3", "first size of what attention or MLP adds {0.05..1.0 log}"),
        (
            "        self.mlp = MLP()\n",
            """\
        self.mlp = MLP()
        self.attention_gain = mx.full((1,), POST_NORM_GAIN)
        self.mlp_gain = mx.full((1,), POST_NORM_GAIN)
""",
        ),
        (
            """\
        x = x + self.attention(norm(x), tokens)
        return x + self.mlp(norm(x))
""",
            """\
        x = x + self.attention_gain.astype(x.dtype) * norm(self.attention(norm(x), tokens))
        return x + self.mlp_gain.astype(x.dtype) * norm(self.mlp(norm(x)))
""",
        ),
    ),
)

PARALLEL_BLOCK = StructuralEdit(
    name="parallel block",
    description="attention and MLP side by side: both read the same normalised stream",
    hypothesis="One norm less and more independent work per block, so more steps in the budget at almost the same "
    "quality: GPT-J (2021), PaLM (2022).",
    sign="self.attention(normed, tokens)",
    replacements=(
        (
            """\
        x = x + self.attention(norm(x), tokens)
        return x + self.mlp(norm(x))
""",
            """\
        normed = norm(x)
        return x + self.attention(normed, tokens) + self.mlp(normed)  # side by side
""",
        ),
    ),
)

CHANNEL_SCALES = StructuralEdit(
    name="scales per channel",
    description="residual and embedding scales of every block are learned for each channel",
    hypothesis="Some channels can carry the token embedding through and others be overwritten; costs next to nothing: "
    "LayerScale in CaiT (Touvron et al., 2021), per-channel mixing in RWKV.",
    sign="mx.ones((WIDTH,))",
    replacements=(
        (
            """\
        self.residual_scale = mx.ones((1,))
        self.embedding_scale = mx.full((1,), 0.1)
""",
            """\
        self.residual_scale = mx.ones((WIDTH,))
        self.embedding_scale = mx.full((WIDTH,), 0.1)
""",
        ),
    ),
)

UNET_SKIPS = StructuralEdit(
    name="U-net skips",
    description="U-net skips: a block of the second half also gets the input of its mirror image in the first",
    hypothesis="Late blocks see early features undiluted, and gradients reach early blocks directly: U-net "
    "connections in modded-nanogpt (2024).",
    sign="self.skip_scales",
    replacements=(
        _new_knob("SKIP_SCALE", "0.2", "first share of a mirror block's input that is added {0.0..0.5}"),
        (
            "        if not TIED_HEAD:\n            self.head",
            """\
        self.skip_scales = mx.full((DEPTH // 2,), SKIP_SCALE)
        if not TIED_HEAD:
            self.head""",
        ),
        (
            """\
        for block in self.blocks:
            x = checkpointed(block, x, x0, tokens) if CHECKPOINT and self.training else block(x, x0, tokens)
""",
            """\
        inputs: list[mx.array] = []  # of the blocks, for their mirror images
        for i, block in enumerate(self.blocks):
            mirror = DEPTH - 1 - i
            if mirror < i:
                x = x + self.skip_scales[mirror].astype(x.dtype) * inputs[mirror]
            inputs.append(x)
            x = checkpointed(block, x, x0, tokens) if CHECKPOINT and self.training else block(x, x0, tokens)
""",
        ),
    ),
)

SMEAR = StructuralEdit(
    name="smear",
    description="smear: a gated share of the previous token's embedding is added to each token's",
    hypothesis="Pairs of tokens are known before the first block, which then need not spend a head on looking one "
    "token back: smear in modded-nanogpt (2025), token shift in RWKV (Peng et al., 2023).",
    sign="self.smear_gate",
    replacements=(
        _new_knob("SMEAR", "0.5", "most that the previous token's embedding is added with {0.1..2.0 log}"),
        (
            "        self.embedding = Embedding(mx.random.normal((VOCAB_SIZE, WIDTH)))\n",
            """\
        self.embedding = Embedding(mx.random.normal((VOCAB_SIZE, WIDTH)))
        self.smear_gate = Linear(mx.zeros((1, Attention.GATE_CHANNELS)))
""",
        ),
        (
            "        x = x0 = norm(self.embedding(tokens))\n",
            """\
        embedded = norm(self.embedding(tokens))
        previous = mx.concatenate([mx.zeros_like(embedded[:, :1]), embedded[:, :-1]], axis=1)  # one token back
        share = SMEAR * mx.sigmoid(self.smear_gate(embedded[..., : Attention.GATE_CHANNELS]))  # (B, T, 1)
        x = x0 = norm(embedded + share * previous)
""",
        ),
    ),
)

EVERY_VALUE_EMBEDDING = StructuralEdit(
    name="value embedding in every block",
    description="every block adds a token embedding to its values, not every other",
    hypothesis="Parameters that cost no multiplication: more of them in the same 300 seconds: value embeddings in "
    "modded-nanogpt (2024), after value residual learning (Zhou et al., 2024).",
    sign="VALUE_STEP",
    replacements=(
        _new_knob("VALUE_STEP", "1", "a value embedding in every block of so many, the last included {1..4}"),
        ("# every other block adds a token embedding to its values", "# blocks add a token embedding to their values"),
        ("(DEPTH - 1 - i) % 2 == 0", "(DEPTH - 1 - i) % VALUE_STEP == 0"),
    ),
    unless=("VALUE_EMBEDDINGS  = False",),
)

GROWING_WINDOWS = StructuralEdit(
    name="growing windows",
    description="short attention windows grow with depth, up to SHORT_WINDOW",
    hypothesis="Early blocks gather words, later ones whole sentences; a narrow view is easier to learn and cheaper: "
    "window schedules over layers in modded-nanogpt (2025).",
    sign="near[i]",
    replacements=(
        (
            "        short = max(1, int(SHORT_WINDOW * SEQUENCE_LENGTH))\n",
            "        near = [max(1, int(SHORT_WINDOW * SEQUENCE_LENGTH * (i + 1) / DEPTH)) for i in range(DEPTH)]\n",
        ),
        ('Block(short if letter == "S"', 'Block(near[i] if letter == "S"'),
    ),
    unless=('WINDOW_PATTERN    = "L"',),
)

ATTENTION_GATE = StructuralEdit(
    name="attention gate",
    description="a gate for each head scales what attention puts out, token by token",
    hypothesis="A head can stay silent where it has nothing to say, without a sink token: Gated Attention (Qiu et "
    "al., 2025), sparse attention gate in modded-nanogpt (2025).",
    sign="self.output_gate",
    replacements=(
        (
            "        self.output = Linear(mx.zeros((WIDTH, heads * HEAD_DIM)))\n",
            """\
        self.output = Linear(mx.zeros((WIDTH, heads * HEAD_DIM)))
        self.output_gate = Linear(mx.zeros((heads, self.GATE_CHANNELS)))
""",
        ),
        (
            "        return self.output(y.transpose(0, 2, 1, 3).reshape(rows, length, -1))\n",
            """\
        openness = 2 * mx.sigmoid(self.output_gate(x[..., : self.GATE_CHANNELS]))  # (B, T, H), 1 at the start
        y = y * openness.transpose(0, 2, 1)[..., None]
        return self.output(y.transpose(0, 2, 1, 3).reshape(rows, length, -1))
""",
        ),
    ),
)

ATTENTION_GAIN = StructuralEdit(
    name="attention gain",
    description="sharper attention: normalised queries are multiplied by a gain",
    hypothesis="Normalised without a weight, queries and keys leave attention too diffuse: karpathy/autoresearch "
    "(2026) found that a multiplier helps; modded-nanogpt (2025) scores with 0.12, not 128^-0.5, a gain of 1.36.",
    sign="ATTENTION_GAIN",
    replacements=(
        _new_knob("ATTENTION_GAIN", "1.35", "factor of the normalised queries {0.7..2.0 log}"),
        ("        y = attend(norm(rope(q)),", "        y = attend(ATTENTION_GAIN * norm(rope(q)),"),
    ),
)

KEY_OFFSET = StructuralEdit(
    name="key offset",
    description="half of every key's channels come from the token before",
    hypothesis="A single block can then find what followed the last time, which otherwise takes two: partial key "
    "offset in modded-nanogpt (2025), smeared keys (Olsson et al., 2022).",
    sign="pairs[..., :slow]",
    replacements=(
        (
            '        if "value_embedding" in self:\n',
            """\
        # RoPE turns channel i with channel i + K / 2; the pairs that turn slowly are the previous token's.
        slow, pairs = HEAD_DIM // 4, k.reshape(*k.shape[:-1], 2, -1)
        previous = mx.concatenate([mx.zeros_like(pairs[:, :, :1]), pairs[:, :, :-1]], axis=2)
        k = mx.concatenate([pairs[..., :slow], previous[..., slow:]], axis=-1).reshape(k.shape)
        if "value_embedding" in self:
""",
        ),
    ),
)

FALL_LINE = "    fall = 1.0 if progress <= 1 - WARMDOWN else FINAL_LR + (1 - FINAL_LR) * (1 - progress) / WARMDOWN\n"

SQUARE_ROOT_COOLDOWN = StructuralEdit(
    name="1 - sqrt cool-down",
    description="the learning rate cools down as 1 - sqrt in place of a straight line",
    hypothesis="It spends more of the cool-down at low rates, where the loss falls fastest: Scaling Laws and "
    "Compute-Optimal Training Beyond Fixed Training Durations (Hägele et al., 2024).",
    sign="(1 - math.sqrt(1 - left))",
    replacements=(
        ("through the budget: trapezoid.", "through the budget: flat, then as 1 - sqrt."),
        (
            FALL_LINE,
            """\
    left = max(0.0, min(1.0, (1 - progress) / WARMDOWN))  # of the cool-down
    fall = FINAL_LR + (1 - FINAL_LR) * (1 - math.sqrt(1 - left))
""",
        ),
    ),
)

COSINE_COOLDOWN = StructuralEdit(
    name="cosine cool-down",
    description="the learning rate cools down as half a cosine in place of a straight line",
    hypothesis="No corner where the fall begins, and a gentle end: SGDR (Loshchilov and Hutter, 2016), the schedule of "
    "most published models.",
    sign="math.cos(math.pi * left)",
    replacements=(
        ("through the budget: trapezoid.", "through the budget: flat, then as a cosine."),
        (
            FALL_LINE,
            """\
    left = max(0.0, min(1.0, (1 - progress) / WARMDOWN))  # of the cool-down
    fall = FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 - math.cos(math.pi * left))
""",
        ),
    ),
)

ROW_NORMALIZED_MUON = StructuralEdit(
    name="NorMuon",
    description="NorMuon: rows of Muon's update are scaled to the same size over time",
    hypothesis="Orthogonal directions still move some neurons much more than others; evening them out used the data "
    "better by a tenth and more: NorMuon (Li et al., 2025).",
    sign="_even_rows",
    replacements=(
        _new_knob("ROW_BETA", "0.95", "Muon: decay of the mean squared update of a row {0.8..0.99}"),
        (
            """\
            "momentum": {
""",
            """\
            "row_square": {name: mx.zeros((parameters[name].shape[0], 1)) for name in parameters if is_matrix[name]},
            "momentum": {
""",
        ),
        (
            "    def _muon_step(\n",
            """\
    def _even_rows(self, name: str, direction: mx.array) -> mx.array:
        \"\"\"Rows over the root of their mean square so far; the matrix as a whole keeps its norm.\"\"\"
        square = self.state["row_square"]
        square[name] = ROW_BETA * square[name] + (1 - ROW_BETA) * mx.square(direction).mean(axis=1, keepdims=True)
        even = direction / (mx.sqrt(square[name]) + 1e-7)
        return even * mx.sqrt(mx.square(direction).sum() / (mx.square(even).sum() + 1e-12))  # 0 stays 0

    def _muon_step(
""",
        ),
        (
            "            direction = direction.T if is_tall[name] else direction\n",
            "            direction = self._even_rows(name, direction.T if is_tall[name] else direction)\n",
        ),
    ),
)

NO_NESTEROV = StructuralEdit(
    name="no Nesterov",
    description="Muon orthogonalises the mean gradient itself, without Nesterov's look ahead",
    hypothesis="With batches of a thousand tokens the newest gradient is mostly noise, and the look ahead gives it "
    "more weight; the mean alone may point better (an ablation of Muon, Jordan et al., 2024).",
    sign="orthogonalize(momentum)",
    replacements=(("orthogonalize(MOMENTUM * momentum + (1 - MOMENTUM) * gradient)", "orthogonalize(momentum)"),),
)

MOMENTUM_RISE = StructuralEdit(
    name="rising momentum",
    description="Muon's momentum rises from a lower value during the first steps",
    hypothesis="Early gradients turn quickly and should be forgotten quickly; later ones are averaged for longer: "
    "momentum warm-up in modded-nanogpt (2024).",
    sign="MOMENTUM_RISE",
    replacements=(
        _new_knob("MOMENTUM_START", "0.85", "Muon: decay of the mean gradient at the first step {0.5..0.9}"),
        _new_knob("MOMENTUM_RISE", "200", "steps until it is MOMENTUM {50..1000 log}"),
        (
            '        momentum = MOMENTUM * self.state["momentum"][key] + (1 - MOMENTUM) * gradient\n',
            """\
        risen = mx.minimum(self.state["step"] / MOMENTUM_RISE, 1.0)
        decay = MOMENTUM_START + (MOMENTUM - MOMENTUM_START) * risen
        momentum = decay * self.state["momentum"][key] + (1 - decay) * gradient
""",
        ),
        (
            "orthogonalize(MOMENTUM * momentum + (1 - MOMENTUM) * gradient)",
            "orthogonalize(decay * momentum + (1 - decay) * gradient)",
        ),
    ),
)

CAUTIOUS_DECAY = StructuralEdit(
    name="cautious weight decay",
    description="cautious weight decay: a weight decays only while the update shrinks it anyway",
    hypothesis="Decay that never works against the update regularises at no cost: Cautious Weight Decay (Chen et al., "
    "2025), used in nanochat.",
    sign="CAUTIOUS_DECAY",
    replacements=(
        _new_knob("CAUTIOUS_DECAY", "0.05", "Muon: more decay where the update shrinks a weight {0.0..0.5}"),
        (
            "            updated[name] = parameter * (1 - step * WEIGHT_DECAY) - step * direction\n",
            """\
            decay = WEIGHT_DECAY + CAUTIOUS_DECAY * (direction * parameter > 0)
            updated[name] = parameter * (1 - step * decay) - step * direction
""",
        ),
    ),
)

CAUTIOUS_ADAM = StructuralEdit(
    name="cautious AdamW",
    description="cautious AdamW: entries whose newest gradient contradicts the mean gradient rest for this step",
    hypothesis="No step goes against the loss at hand, and rows of tokens that are not in the batch stay where they "
    "are: Cautious Optimizers (Liang et al., 2024).",
    sign="confirmed = mx.where(",
    replacements=(
        (
            "        unbiased_mean = mean[name] / (1 - mx.power(ADAM_BETA1, step))\n",
            """\
        confirmed = mx.where(mean[name] * gradient > 0, mean[name], 0.0)
        unbiased_mean = confirmed / (1 - mx.power(ADAM_BETA1, step))
""",
        ),
    ),
)

EMBEDDING_DECAY = StructuralEdit(
    name="embedding decay",
    description="weight decay for the token and value embeddings",
    hypothesis="Their learning rate is high and rare rows keep whatever they once got; a little decay forgets it: "
    "regularised value embeddings were among the finds of karpathy/autoresearch (2026).",
    sign="EMBEDDING_DECAY",
    replacements=(
        _new_knob("EMBEDDING_DECAY", "0.0005", "AdamW: decay of embeddings, times their rate {0.00005..0.005 log}"),
        (
            "        return parameter - rate * adam_learning_rate(name) * unbiased_mean",
            """\
        if name.endswith("embedding.weight"):
            parameter = parameter * (1 - rate * adam_learning_rate(name) * EMBEDDING_DECAY)
        return parameter - rate * adam_learning_rate(name) * unbiased_mean""",
        ),
    ),
)

EMBEDDING_BETA2 = StructuralEdit(
    name="embedding beta2",
    description="embeddings average their squared gradients for longer than the other AdamW parameters",
    hypothesis="A row's gradient is zero in most small batches, so a short memory makes the step of a rare token "
    "jump; beta2 should grow as the batch shrinks: Small Batch Size Training for Language Models (Marek et al., 2025).",
    sign="EMBEDDING_BETA2",
    replacements=(
        _new_knob("EMBEDDING_BETA2", "0.99", "AdamW: ADAM_BETA2 of the embeddings {0.9..0.999}"),
        (
            "        square[name] = ADAM_BETA2 * square[name] + (1 - ADAM_BETA2) * mx.square(gradient)\n",
            """\
        beta2 = EMBEDDING_BETA2 if name.endswith("embedding.weight") else ADAM_BETA2
        square[name] = beta2 * square[name] + (1 - beta2) * mx.square(gradient)
""",
        ),
        ("(1 - mx.power(ADAM_BETA2, step))", "(1 - mx.power(beta2, step))"),
    ),
)

GRADIENT_CLIPPING = StructuralEdit(
    name="gradient clipping",
    description="gradients are scaled down to a largest global norm",
    hypothesis="A rare large batch gradient would sit in the averages for dozens of steps: On the Difficulty of "
    "Training Recurrent Neural Networks (Pascanu et al., 2013), standard in GPT-2 and GPT-3 training.",
    sign="CLIP_NORM",
    replacements=(
        _new_knob("CLIP_NORM", "1.0", "largest norm of all gradients together {0.1..5.0 log}"),
        (
            "        updated = optimizer.update(parameters, gradients, rate)\n",
            """\
        shrink = mx.minimum(1.0, CLIP_NORM / (global_norm(gradients) + 1e-6))
        clipped = {name: gradient * shrink for name, gradient in gradients.items()}
        updated = optimizer.update(parameters, clipped, rate)
""",
        ),
    ),
)

WEIGHT_AVERAGE = StructuralEdit(
    name="weight average",
    description="what is handed in is the mean of the weights over the last part of training",
    hypothesis="The mean of the last weights lies in the middle of the valley that small batches rattle about in: "
    "Averaging Weights Leads to Wider Optima (Izmailov et al., 2018), LAWA (Kaddour, 2022).",
    sign="def running_mean(",
    replacements=(
        _new_knob("AVERAGED", "0.1", "share of the budget, at its end, whose weights are averaged {0.02..0.4}"),
        _new_knob("AVERAGE_EVERY", "4", "steps from one averaged set of weights to the next {1..16 log}"),
        (
            "def main() -> None:\n",
            """\
def running_mean(mean: dict, weights: dict, count: int) -> dict:
    \"\"\"Mean of `count` sets of weights, from the mean of all but the last and the last.\"\"\"
    return tree_map(lambda old, new: old + (new - old) / count, mean, weights)


def main() -> None:
""",
        ),
        (
            "    while clock.running():\n        rate = learning_rate(clock.progress())\n",
            """\
    average, averaged = model.parameters(), 0
    while clock.running():
        progress = clock.progress()
        rate = learning_rate(progress)
""",
        ),
        (
            "        step += 1\n",
            """\
        step += 1
        if progress > 1 - AVERAGED and step % AVERAGE_EVERY == 0:
            averaged += 1
            average = running_mean(average, model.parameters(), averaged)  # the first one replaces the start
            mx.async_eval(average)
""",
        ),
        (
            "    hand_in(model)\n",
            """\
    if averaged > 0:
        model.update(average)
    hand_in(model)
""",
        ),
    ),
)

CATALOGUE: tuple[StructuralEdit, ...] = (
    GATED_MLP,
    SANDWICH_NORM,
    PARALLEL_BLOCK,
    CHANNEL_SCALES,
    UNET_SKIPS,
    SMEAR,
    EVERY_VALUE_EMBEDDING,
    GROWING_WINDOWS,
    ATTENTION_GATE,
    ATTENTION_GAIN,
    KEY_OFFSET,
    SQUARE_ROOT_COOLDOWN,
    COSINE_COOLDOWN,
    ROW_NORMALIZED_MUON,
    NO_NESTEROV,
    MOMENTUM_RISE,
    CAUTIOUS_DECAY,
    CAUTIOUS_ADAM,
    EMBEDDING_DECAY,
    EMBEDDING_BETA2,
    GRADIENT_CLIPPING,
    WEIGHT_AVERAGE,
)
"""All edits. Not among them: normalising queries and keys before RoPE, which computes the same, because a rotation
keeps their norm; and a fall over the whole budget, which WARMDOWN can say."""
