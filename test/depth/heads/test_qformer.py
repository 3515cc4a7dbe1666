"""The Q-Former: the numbers of transformers' two, and constants that are never stale."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from clip_depth_ros.depth.heads.qformer import QFormer, QFormerConfig
from clip_depth_ros.depth.importers.blip2_names import qformer_tensors
from clip_depth_ros.errors import BadInput

SMALL = QFormerConfig(width=24, layers=4, heads=2, hidden=32, queries=5, image_width=20, vocabulary=50, positions=12)
LENGTHS = (6, 7, 6, 8, 8, 6, 6)


def prompts(vocabulary: int, lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Tensor]:
    """Random token ids, padded to the longest prompt, and where they are tokens."""
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return torch.randint(1, vocabulary, mask.shape) * mask, mask


def frozen(config: QFormerConfig = SMALL, seed: int = 0) -> QFormer:
    torch.manual_seed(seed)
    return lively(QFormer(config)).requires_grad_(False).eval()


def lively(module: torch.nn.Module) -> torch.nn.Module:
    """Gives every parameter a value of its own: a fresh network has zeros and ones that hide mistakes."""
    for value in module.parameters():
        torch.nn.init.normal_(value, 0.0 if value.ndim > 1 else 0.5, 0.05)
    return module


def referee(kind: str, image_width: int, layers: int, width: int = 768, heads: int = 12) -> torch.nn.Module:
    """The Q-Former of transformers with random weights."""
    transformers = pytest.importorskip("transformers", reason="the referee: pip install 'clip_depth_ros[test]'")
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "encoder_hidden_size": image_width,
        "vocab_size": 90,
    }
    torch.manual_seed(1)
    if kind == "instructblip":
        return lively(transformers.InstructBlipQFormerModel(transformers.InstructBlipQFormerConfig(**sizes))).eval()
    config = transformers.Blip2QFormerConfig(**sizes, use_qformer_text_input=True)
    model = transformers.Blip2QFormerModel(config)
    # In BLIP-2 the embeddings stand beside the Q-Former.
    model.words = torch.nn.Embedding(90, width)
    model.places = torch.nn.Embedding(512, width)
    return lively(model).eval()


def published_names(model: torch.nn.Module, queries: Tensor) -> dict[str, Tensor]:
    moved = {"words.": "embeddings.word_embeddings.", "places.": "embeddings.position_embeddings."}
    named = {"query_tokens": queries}
    for name, tensor in model.state_dict().items():
        prefix = next((prefix for prefix in moved if name.startswith(prefix)), None)
        named[name.replace(prefix, moved[prefix]) if prefix else f"qformer.{name}"] = tensor
    return named


def expected_queries(model: torch.nn.Module, queries: Tensor, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """What transformers gives for one image and one prompt after the other."""
    found = []
    for tokens in image:
        for prompt, real in zip(ids, mask):
            attended = torch.cat([torch.ones(queries.shape[1], dtype=torch.long), real.long()])[None]
            arguments = {"attention_mask": attended, "encoder_hidden_states": tokens[None]}
            if hasattr(model, "words"):
                text = model.words(prompt[None]) + model.places(torch.arange(len(prompt)))
                arguments |= {"query_embeds": torch.cat([queries, text], dim=1), "query_length": queries.shape[1]}
            else:
                arguments |= {"input_ids": prompt[None], "query_embeds": queries}
            found.append(model(**arguments).last_hidden_state[:, : queries.shape[1]])
    return torch.cat(found).unflatten(0, (len(image), len(ids)))


@pytest.mark.parametrize(
    ("kind", "image_width", "layers", "images"),
    [
        ("instructblip", 1408, 2, 2),
        ("instructblip", 1024, 3, 1),
        ("blip2", 1408, 3, 1),
        ("blip2", 1024, 2, 2),
        ("instructblip", 1024, 12, 1),
    ],
)
@torch.no_grad()
def test_parity_with_transformers(kind: str, image_width: int, layers: int, images: int) -> None:
    model = referee(kind, image_width, layers)
    queries, image = torch.randn(1, 32, 768), torch.randn(images, 20, image_width)
    ids, mask = prompts(90, (6, 8, 7))
    config = QFormerConfig(layers=layers, image_width=image_width, vocabulary=90)
    with torch.device("meta"):
        qformer = QFormer(config)
    qformer.load_state_dict(qformer_tensors(published_names(model, queries)), assign=True)
    qformer.requires_grad_(False).eval()
    expected = expected_queries(model, queries, image, ids, mask)
    assert expected.std() > 0.04, "a constant output would prove nothing"
    assert (expected[:, 0] - expected[:, 1]).abs().max() > 1e-3, "the prompts must matter"
    for _ in range(2):  # computed, then from memory
        torch.testing.assert_close(qformer(image, ids, mask), expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_padding_and_company_change_nothing() -> None:
    qformer, image = frozen(), torch.randn(3, 7, 20)
    ids, mask = prompts(50, (3, 6, 4))
    together = qformer(image, ids, mask)
    for number, length in enumerate((3, 6, 4)):
        alone = qformer(image[1:2], ids[number : number + 1, :length])
        torch.testing.assert_close(together[1:2, number : number + 1], alone, rtol=0, atol=2e-6)
    assert (together[0] - together[1]).abs().max() > 1e-2
    assert (together[:, 0] - together[:, 1]).abs().max() > 1e-2


class Counter:
    """Counts the calls of a module, by the number of rows they had."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.rows: list[int] = []
        module.register_forward_hook(lambda _, inputs, __: self.rows.append(inputs[0].shape[0]))


@torch.no_grad()
def test_what_does_not_depend_on_the_image_is_computed_once() -> None:
    qformer = frozen()
    ids, mask = prompts(50)
    first, second = Counter(qformer.layers[0].attention), Counter(qformer.layers[1].attention)
    text = Counter(qformer.layers[0].text_feed_forward)
    for images in (1, 2, 5):
        qformer(torch.randn(images, 7, 20), ids, mask)
    assert first.rows == [7]
    assert text.rows == [7]
    assert second.rows == [7, 14, 35]
    qformer(torch.randn(1, 7, 20), ids.clone(), mask)  # other tensors may hold other prompts
    assert first.rows == [7, 7]


def test_the_last_layer_has_no_text_part() -> None:
    qformer = QFormer(SMALL)
    parts = [layer.text_feed_forward is not None for layer in qformer.layers]
    assert parts == [True, True, True, False]
    assert [layer.cross_attention is not None for layer in qformer.layers] == [True, False, True, False]


def _in_place(qformer: QFormer) -> None:
    qformer.query_tokens.mul_(-2)


def _loaded(qformer: QFormer) -> None:
    qformer.load_state_dict(frozen(seed=5).state_dict())


def _assigned(qformer: QFormer) -> None:
    qformer.load_state_dict(frozen(seed=5).state_dict(), assign=True)


def _exchanged(qformer: QFormer) -> None:
    other = frozen(seed=5)
    for one, two in zip(qformer.parameters(), other.parameters()):
        one.data, two.data = two.data, one.data


def _rounded(qformer: QFormer) -> None:
    qformer.half().float()


def _replaced_twice(qformer: QFormer) -> None:
    """The second time the memory of the first weights may be taken again."""
    for factor in (2.0, 3.0):
        qformer.query_tokens.data = qformer.query_tokens.data * factor


@pytest.mark.parametrize("change", [_in_place, _loaded, _assigned, _exchanged, _rounded, _replaced_twice])
@torch.no_grad()
def test_constants_follow_the_weights(change) -> None:
    qformer, image = frozen(), torch.randn(2, 7, 20)
    ids, mask = prompts(50)
    before = qformer(image, ids, mask)
    change(qformer)
    after = qformer(image, ids, mask)
    fresh = QFormer(SMALL).requires_grad_(False).eval()
    fresh.load_state_dict(qformer.state_dict())
    assert not torch.equal(after, before)
    torch.testing.assert_close(after, fresh(image, ids, mask), rtol=0, atol=0)


@torch.no_grad()
def test_constants_follow_the_prompts_and_a_copy_has_its_own() -> None:
    qformer, image = frozen(), torch.randn(1, 7, 20)
    ids, mask = prompts(49)
    before = qformer(image, ids, mask)
    twin = copy.deepcopy(qformer)
    _in_place(twin)
    assert not torch.equal(twin(image, ids, mask), before)
    torch.testing.assert_close(qformer(image, ids, mask), before, rtol=0, atol=0)
    ids.add_(1)
    assert not torch.equal(qformer(image, ids, mask), before)
    ids.sub_(1)
    torch.testing.assert_close(qformer(image, ids, mask), before, rtol=0, atol=0)


def test_constants_made_in_inference_mode_serve_a_training() -> None:
    qformer, image = frozen(), torch.randn(1, 7, 20, requires_grad=True)
    ids, mask = prompts(50)
    with torch.inference_mode():
        qformer(image, ids, mask)
    qformer(image, ids, mask).sum().backward()
    assert image.grad is not None


def test_every_weight_learns() -> None:
    torch.manual_seed(0)
    qformer = lively(QFormer(SMALL)).eval()
    ids, mask = prompts(50)
    image = torch.randn(2, 7, 20)
    optimizer = torch.optim.SGD(qformer.parameters(), lr=0.1)
    with torch.no_grad():
        before = qformer(image, ids, mask)
    qformer(image, ids, mask).square().mean().backward()
    assert [name for name, value in qformer.named_parameters() if value.grad is None] == []
    optimizer.step()
    with torch.no_grad():
        assert not torch.equal(qformer(image, ids, mask), before)


def test_dropout_is_for_training() -> None:
    qformer, image = frozen(), torch.randn(1, 7, 20)
    ids, mask = prompts(50)
    with torch.no_grad():
        assert torch.equal(qformer(image, ids, mask), qformer(image, ids, mask))
        qformer.train()
        assert not torch.equal(qformer(image, ids, mask), qformer(image, ids, mask))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.06), (torch.float16, 0.006)])
@torch.no_grad()
def test_weights_of_16_bits_keep_a_sum_of_32(dtype: torch.dtype, tolerance: float) -> None:
    qformer, image = frozen(), torch.randn(2, 7, 20)
    ids, mask = prompts(50)
    expected = qformer(image, ids, mask)
    found = qformer.to(dtype)(image.to(dtype), ids, mask)
    assert found.dtype == torch.float32
    error = (found - expected).abs().max()
    assert 0 < error < tolerance


@pytest.mark.parametrize(
    ("change", "said"), [({"heads": 7}, "cannot have 7 heads"), ({"layers": 0}, "layers of a Q-Former is 0")]
)
def test_sizes_that_make_no_sense_are_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        QFormerConfig(**change)
