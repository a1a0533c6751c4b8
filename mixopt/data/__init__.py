"""Text and tokens: sources, hold-out split, tokenization, corpora and contamination.

The modules go from files to a `Corpus` of token shards on disk: `sources` reads documents, and of what
is larger than a study can use `text_sample`, `token_text` and `hub_sample` read some, spread over it;
`tokenizer` trains or loads a tokenizer, `tokenization` writes shards, `corpus` opens them, and
`study_corpora` holds those of one study. `contamination` counts benchmark items that occur in training
text, and `capability_text` collects text about what a benchmark asks. Nothing here imports torch.
"""
