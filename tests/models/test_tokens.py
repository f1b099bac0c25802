import torch
from einops import rearrange

from surgrec.models.tokens import TubeletEmbedding, take_tokens


def test_the_embedding_is_the_convolution_of_its_weights():
    torch.manual_seed(0)
    embedding = TubeletEmbedding(width=10, tubelet_size=2, patch_size=4)
    clip = torch.randn(2, 3, 6, 8, 12)
    convolved = rearrange(embedding.proj(clip), "b d t h w -> b (t h w) d")
    assert convolved.shape == (2, 3 * 2 * 3, 10)
    torch.testing.assert_close(embedding(clip), convolved)


def test_tokens_are_taken_by_id_in_each_row():
    tokens = rearrange(torch.arange(2 * 5 * 3.0), "(b n d) -> b n d", b=2, n=5)
    index = torch.tensor([[4, 0], [1, 1]])
    taken = take_tokens(tokens, index)
    assert torch.equal(taken, torch.stack([tokens[0, [4, 0]], tokens[1, [1, 1]]]))
