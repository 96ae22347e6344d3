# Completion of deployctl for bash; made by `deployctl completions bash`.
_deployctl() {
    # Bash cuts words at `=` and `:`, too; the program gets them as they were typed.
    local words=() word typed=$2 glued=''
    if [[ ${COMP_WORDS[COMP_CWORD]} == [=:]* ]]; then
        typed=${COMP_WORDS[COMP_CWORD]}
    fi
    for word in "${COMP_WORDS[@]:0:COMP_CWORD}" "$typed"; do
        if ((${#words[@]} > 1)) && [[ $word == [=:]* || -n $glued ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        [[ $word == *[=:] ]] && glued=yes || glued=''
    done
    local last=$((${#words[@]} - 1)) IFS=$'\013' reply
    local before=${words[last]%"$2"}
    # shellcheck disable=SC2207 # the answer is cut at IFS alone
    COMPREPLY=($(
        DEPLOYCTL_COMPLETE=bash _CLAP_IFS=$IFS _CLAP_COMPLETE_INDEX=$last \
            'deployctl' -- "${words[@]}" 2>/dev/null
    ))
    for reply in "${!COMPREPLY[@]}"; do
        COMPREPLY[reply]=${COMPREPLY[reply]#"$before"}
    done
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -o bashdefault -o nosort -F _deployctl deployctl 2>/dev/null || complete -o bashdefault -F _deployctl deployctl
