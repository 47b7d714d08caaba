// Package early serves the plainest calls of tokenctl before the rest of it
// exists: "tokenctl get NAME", and git and docker, who ask for a host.
//
// Most of what a get costs is the start of a program, and of that a good part is
// the initialisation of packages that a get has no use for: those of the command
// line, and what they import. Go initialises packages in the order of their
// import paths, as far as their own imports allow ("Program initialization" in
// the language's specification). This one imports as little as can be: its turn
// comes before that of unicode, and so before that of all which depends on it,
// strings, fmt, net and cobra among them.
//
// It asks for a token in a way that obtains nothing and refuses nothing
// (Cache-Control: only-if-cached), and checks what every client checks. If
// anything is not as it expects, it leaves no trace but Input, and the program
// goes on as if it had not been. So it knows neither flags nor errors, and
// whatever it does the rest of the program does in the same way, if later.
package early

// Input is what was read of standard input: the rest of the program reads it
// again, before what follows.
var Input []byte
