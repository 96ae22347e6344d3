
set edit:completion:arg-completer[deployctl] = { |@words|
    var index = (count $words)
    set index = (- $index 1)

    put (env _CLAP_IFS="\n" _CLAP_COMPLETE_INDEX=(to-string $index) DEPLOYCTL_COMPLETE="elvish" deployctl -- $@words) | to-lines
}
