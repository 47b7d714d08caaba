package helper

import (
	"io"
	"os"
	"os/exec"
	"testing"
)

// What a tool runs at once is no refusal.
func TestOtherHelpersOfTheTool(t *testing.T) {
	if os.Getenv("TOKEND_TEST_CHILD") != "" {
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	if runsOthers(os.Getpid()) {
		t.Error("there is no other helper")
	}
	child := exec.Command(os.Args[0], "-test.run=TestOtherHelpersOfTheTool")
	child.Env = append(os.Environ(), "TOKEND_TEST_CHILD=1")
	end, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil || !runsOthers(os.Getpid()) {
		t.Errorf("the other helper is not seen: %v", err)
	}
	_ = end.Close()
	_ = child.Wait()
}
