// Package depcheck holds what the packages of this module may import, directly and on the way. It is tests only.
//
// The golden file testdata/modules.txt lists, for each public package, the modules that a program compiles in by
// importing it. After a change that is meant:
//
//	go test ./internal/depcheck -update
package depcheck
