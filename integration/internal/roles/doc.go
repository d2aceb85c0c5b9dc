// Package roles is what the programs that measure have in common: they run again as processes of their own, each with a role
// to play, so that no two ends of a tunnel share a scheduler or a garbage collector, and what each uses can be told apart.
//
//	parent ── Child.Ask ──► the same program: Play ──► a Role: Server, Clients, or the program's own
//	       ◄── answers ───
package roles
