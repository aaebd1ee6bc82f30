//! Which blocks of rows are free, and in which page each lies.
//!
//! Block numbers run on from page to page. All blocks for the same ids (a *column*) lie in one page, because kernels
//! combine rows of one id and bind one page. So a page takes columns as long as it has blocks for half as many slots
//! again as are open; when even that is not enough, everything has to be laid out anew, with fewer columns in a page.

use crate::base::limits::word;

#[derive(Debug, Clone, Default)]
struct Page {
    free: Vec<u32>,
    /// Blocks handed out so far, those that are free again included.
    used: u32,
    columns: u32,
}

/// The blocks of a query on its device.
#[derive(Debug, Clone, Default)]
pub(super) struct Blocks {
    /// Blocks in a page.
    per_page: u32,
    pages: Vec<Page>,
    /// The page of each column.
    columns: Vec<u32>,
}

impl Blocks {
    pub(super) fn new(per_page: usize) -> Self {
        Self { per_page: word(per_page), ..Self::default() }
    }

    /// A block for a column, while `slots` are open; `None` when the column's page has none left.
    pub(super) fn take(&mut self, column: usize, slots: usize) -> Option<u32> {
        while self.columns.len() <= column {
            let wanted = word(slots + slots / 2 + 2).min(self.per_page);
            let fits = |page: &Page| (page.columns + 1).saturating_mul(wanted) <= self.per_page;
            if !self.pages.last().is_some_and(fits) {
                self.pages.push(Page::default());
            }
            self.columns.push(word(self.pages.len() - 1));
            let last = self.pages.len() - 1;
            self.pages[last].columns += 1;
        }
        let number = self.columns[column];
        let page = &mut self.pages[number as usize];
        page.free.pop().or_else(|| {
            let block = (page.used < self.per_page).then(|| number * self.per_page + page.used)?;
            page.used += 1;
            Some(block)
        })
    }

    /// Takes blocks back whose rows are empty. Taken again, they come in the same order.
    pub(super) fn give(&mut self, blocks: &[u32]) {
        for &block in blocks.iter().rev() {
            // A block that its page did not have belongs to no page.
            if let Some(page) = self.pages.get_mut((block / self.per_page) as usize) {
                page.free.push(block);
            }
        }
    }

    /// How many blocks of each page have to be there.
    pub(super) fn used(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.pages.iter().map(|page| page.used as usize)
    }

    /// Blocks that have been handed out and are free again.
    pub(super) fn free(&self) -> usize {
        self.pages.iter().map(|page| page.free.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_blocks_of_a_column_lie_in_one_page() {
        let mut blocks = Blocks::new(100);
        let (mut taken, mut slots) = (BTreeSet::new(), 0);
        'slots: for slot in 1.. {
            for column in 0..20 {
                let Some(block) = blocks.take(column, slot) else { break 'slots };
                assert!(taken.insert(block), "block {block} twice");
                assert_eq!(block / 100, blocks.columns[column], "column {column}");
            }
            slots = slot;
        }
        // With one slot open a column asks for three blocks, so all columns came to the first page.
        assert_eq!((blocks.pages.len(), slots), (1, 5));
        assert!(blocks.take(20, 6).is_some_and(|block| block / 100 == 1), "another page");
    }

    #[test]
    fn blocks_come_back_in_their_order() {
        let mut blocks = Blocks::new(1000);
        let first: Vec<u32> = (0..50).map(|column| blocks.take(column, 1).unwrap()).collect();
        blocks.give(&first);
        assert_eq!(blocks.free(), 50);
        let again: Vec<u32> = (0..50).map(|column| blocks.take(column, 1).unwrap()).collect();
        assert_eq!(again, first);
    }
}
