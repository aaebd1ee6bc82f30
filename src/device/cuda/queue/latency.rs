//! The queue in the latency mode: which batches its resident kernel serves, and what makes that one leave first.
//!
//! A batch whose steps the resident kernel knows is rung for; any other is a graph as always, behind the kernel. The
//! kernel may leave at any time by itself, even before a batch that it was just rung for: whoever looks for that batch
//! finds the kernel gone and launches it again (`revive`), so nothing is lost and no lock is needed.

use super::{CudaQueue, Flight, low};
use crate::base::error::Result;
use crate::device::cuda::memory::{Memory, Pinned};
use crate::device::cuda::resident::Resident;
use crate::device::{ProgramId, Ticket};
use std::sync::Arc;

impl CudaQueue {
    /// Forgets the resident kernel's table, because a place, a buffer or a program changes that is in it. The kernel
    /// was dismissed.
    pub(super) fn forget_table(&mut self) -> Result<()> {
        let Some(resident) = self.resident.as_mut().filter(|resident| resident.has_table()) else {
            return Ok(());
        };
        self.work.synchronize()?;
        resident.set_table(None);
        Ok(())
    }

    /// The place in flight of a ticket.
    fn place_of(&self, ticket: Ticket) -> usize {
        usize::try_from((ticket.0 - 1) % self.options.in_flight as u64).unwrap_or(0)
    }

    /// Gives the newest flight to the resident kernel.
    pub(super) fn ring(&mut self, program: ProgramId, head: &[u32]) -> Result<()> {
        self.tabulate()?;
        let Some(ticket) = self.flights.back().map(|flight| flight.ticket) else { return Ok(()) };
        let at = self.place_of(ticket);
        let Self { programs, places, completion, resident, flights, work, .. } = self;
        let (Some(flight), Some(resident)) = (flights.back_mut(), resident) else { return Ok(()) };
        let (place, program) = (&mut places[at], &programs[program.0 as usize]);
        let result = flight.output.as_ref().map_or(0, |(_, words)| words.address());
        place.write_head(head, program.head_min(), low(ticket), result);
        place.list(&flight.leases)?;
        let blocks = program.blocks_most(head).max(place.blocks());
        flight.rung = true;
        completion.watch_resident(ticket);
        resident.ring(ticket, program.order(at), blocks);
        if !resident.is_running() {
            // SAFETY: what the table names belongs to the queue, which takes none of it before the kernel is gone
            // (`dismiss`), or to the batch at its place; see the top of the file.
            return unsafe { resident.launch(work, Ticket(ticket.0 - 1)) };
        }
        self.revive()
    }

    /// Writes the resident kernel's table, unless it is there.
    fn tabulate(&mut self) -> Result<()> {
        if self.resident.as_ref().is_none_or(Resident::has_table) {
            return Ok(());
        }
        self.dismiss()?;
        let mut table = Vec::new();
        for program in self.programs.iter_mut().filter(|program| program.is_resident()) {
            program.tabulate(&self.places, (&self.homes, &self.completion), &mut table);
        }
        let context = &self.gpu.context;
        let what = "the table of a resident kernel";
        let mut from = Pinned::new(context, what, table.len())?;
        from.slice_mut()[..table.len()].copy_from_slice(&table);
        let to = Memory::new(context, what, table.len())?;
        // SAFETY: page-locked and long enough; both stay until the stream has run dry, since only what waits for
        // that (`forget_table`, `Drop`) takes the table away.
        unsafe { self.work.copy_in(&to, 0, from.slice().as_ptr(), table.len())? };
        if let Some(resident) = &mut self.resident {
            resident.set_table(Some((to, from)));
        }
        Ok(())
    }

    /// Launches the resident kernel again when it has left before a batch that it was rung for.
    pub(super) fn revive(&mut self) -> Result<()> {
        let Some(resident) = &mut self.resident else { return Ok(()) };
        if !resident.is_running() || !resident.pulse.is_gone() {
            return Ok(());
        }
        let waits = |flight: &&Flight| flight.rung && !self.completion.is_marked(flight.ticket);
        match self.flights.iter().find(waits) {
            // SAFETY: as in `ring`.
            Some(flight) => unsafe { resident.launch(&self.work, Ticket(flight.ticket.0 - 1)) },
            None => {
                resident.rest();
                Ok(())
            }
        }
    }

    /// Lets the resident kernel serve what it was rung for and leave the device.
    pub(super) fn dismiss(&mut self) -> Result<()> {
        while let Some(resident) = self.resident.as_mut().filter(|resident| resident.is_running()) {
            resident.leave()?;
            self.revive()?;
        }
        Ok(())
    }

    /// Calls that are no batches go behind the resident kernel.
    pub(super) fn enter_alone(&mut self) -> Result<()> {
        self.enter()?;
        let dismissed = self.dismiss();
        self.keep(dismissed)
    }

    /// Leaves where it is what the device may use for ever.
    pub(super) fn abandon(&mut self) {
        use std::mem::{forget, take};
        self.completion.abandon();
        forget((take(&mut self.programs), take(&mut self.homes), take(&mut self.places)));
        forget((take(&mut self.flights), take(&mut self.stages), take(&mut self.spare)));
        forget((self.resident.take(), Arc::clone(&self.gpu)));
    }
}
