# shellcheck shell=bash
# Completion of PROGRAM for bash.
_PROGRAM() {
    local i n=0 typed text doc line longest=0 words=() texts=() docs=()
    for ((i = 1; i <= COMP_CWORD; i++)); do
        typed=${COMP_WORDS[i]}
        if ((n > 0)) && [[ $typed == = || ${words[n - 1]} == --*= ]]; then
            words[n - 1]+=$typed # bash splits --flag=value
        else
            words[n++]=$typed
        fi
    done
    typed=${words[n - 1]}
    COMPREPLY=()
    while IFS=$'\t' read -r text doc; do
        if [[ $text == :files ]]; then
            compopt -o default 2>/dev/null
            return
        fi
        [[ $typed == --*=* && $COMP_WORDBREAKS == *=* ]] && text=${text#*=}
        texts+=("$text") docs+=("$doc")
        ((${#text} > longest)) && longest=${#text}
    done < <("$1" __complete "${words[@]}" 2>/dev/null)
    # Meanings are for lists: with one candidate, or in a menu, the word alone is inserted.
    for i in "${!texts[@]}"; do
        line=${texts[i]}
        if ((${#texts[@]} > 1)) && [[ -n ${docs[i]} && ($COMP_TYPE == 9 || $COMP_TYPE == 33 || $COMP_TYPE == 63 || $COMP_TYPE == 64) ]]; then
            printf -v line '%-*s  (%s)' "$longest" "$line" "${docs[i]}"
            ((${#line} > ${COLUMNS:-80} - 1)) && line="${line:0:${COLUMNS:-80} - 2})"
        fi
        COMPREPLY+=("$line")
    done
}
complete -F _PROGRAM PROGRAM
