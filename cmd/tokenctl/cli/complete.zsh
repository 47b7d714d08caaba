#compdef PROGRAM
# Completion of PROGRAM for zsh.
_PROGRAM() {
    local line
    local -a candidates
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            _files
            return
        fi
        candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done < <(${words[1]} __complete "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
    _describe -V PROGRAM candidates
}
if [[ $funcstack[1] == _PROGRAM ]]; then
    _PROGRAM
else
    compdef _PROGRAM PROGRAM
fi
