complete --keep-order --exclusive --command deployctl --arguments "(DEPLOYCTL_COMPLETE=fish deployctl -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
