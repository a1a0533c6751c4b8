"""Results on disk: each is named by what determines it, built once, kept whole, and found again.

`artifact` names results and detects damage; `store` and `remote_store` build and find them;
`code_versions` keeps results of other code apart; `archive` packs a study into one file.
"""
