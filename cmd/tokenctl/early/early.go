// Package early serves "tokenctl get NAME" before the rest of tokenctl exists.
//
// Most of what a get costs is the start of a program, and of that a good part is
// the initialisation of packages that a get has no use for: those of the command
// line, and what they import. Go initialises packages in the order of their
// import paths, as far as their own imports allow ("Program initialization" in
// the language's specification). This one imports no more than os and syscall:
// its turn comes before that of unicode, and so before that of all which depends
// on it, fmt, net and cobra among them.
//
// It does the plainest thing only: a token of a named profile, at hand in a tokend
// that runs, printed as it is. It asks for it in a way that obtains nothing and
// refuses nothing (Cache-Control: only-if-cached), and checks what every client
// checks. If anything is not as it expects, it leaves no trace, and the program
// goes on as if it had not been.
package early
