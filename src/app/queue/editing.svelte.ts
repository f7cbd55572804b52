/** Which job of the queue has its settings open in Train. Apart from the queue itself, whose code is loaded when it is first used. */
class Editing {
	job = $state.raw<{ id: string; name: string } | null>(null);
}

export const editing = new Editing();
