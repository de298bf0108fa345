package session

import "github.com/escrow-backup/escrow/task"

// Next are the members of a batch to start now, by their phases: all at once for Parallel, one after the other for Sequential. stop is set when
// none will be started any more because a member before has failed; those left are to be skipped.
func Next(order task.ExecutionOrder, phases []task.SessionPhase) (start []int, stop bool) {
	for i, p := range phases {
		waiting := p == "" || p == task.SessionPending
		if order != task.Sequential {
			if waiting {
				start = append(start, i)
			}
			continue
		}
		switch {
		case waiting:
			return []int{i}, false
		case p == task.SessionSucceeded, p == task.SessionSkipped:
		case p.Final():
			return nil, true
		default:
			return nil, false
		}
	}
	return start, false
}

// Phases are those of the targets of a session.
func Phases(s *task.BackupSession) []task.SessionPhase {
	out := make([]task.SessionPhase, len(s.Status.Targets))
	for i := range out {
		out[i] = s.Status.Targets[i].Phase
	}
	return out
}
