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


def test_gradients_of_taken_tokens_return_to_their_places_and_add_up():
    torch.manual_seed(0)
    tokens = torch.randn(2, 6, 3, requires_grad=True)
    index = torch.tensor([[4, 0], [1, 1]])
    take_tokens(tokens, index).sum().backward()
    expected = torch.zeros(2, 6, 3)
    expected[0, [4, 0]], expected[1, 1] = 1.0, 2.0
    assert torch.equal(tokens.grad, expected)


def test_tubelets_embedded_by_id_are_those_of_the_whole_clip():
    torch.manual_seed(0)
    embedding = TubeletEmbedding(width=10, tubelet_size=2, patch_size=4)
    clip, index = torch.randn(2, 3, 6, 8, 12), torch.tensor([[17, 0, 5], [2, 3, 9]])
    torch.testing.assert_close(embedding(clip, index), take_tokens(embedding(clip), index))
